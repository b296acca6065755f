// Which samples of a data set a command works on, as the user writes it.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace diffscm::data {

// Comma-separated indices and half-open ranges: "7", "0:10", "0:100:10", "5:", ":", "3,5,9:12".
// Order and repetitions are kept. Throws Error when it is malformed, leaves [0, size) or selects
// nothing.
std::vector<int64_t> parse_index_range(std::string_view text, int64_t size);
// Without a text the first `count`, or as many as there are.
std::vector<int64_t> index_range_or_first(std::string_view text, int64_t count, int64_t size);

}  // namespace diffscm::data
