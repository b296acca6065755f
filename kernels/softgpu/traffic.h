// What global memory accesses ask of the levels of memory: an L1 that blocks have to themselves,
// and the sectors that a launch touches, for the model of the L2 (predict.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace diffscm::softgpu {

inline constexpr uint64_t kSectorBytes = 32;  // what memory moves at least
inline constexpr uint64_t kPageBytes = 4096;  // what a footprint is kept in

// The sectors that were touched.
class Footprint {
 public:
  struct Page {
    std::array<uint64_t, 2> read{}, written{};  // a bit per sector
  };

  // `sector`: an address over 32.
  void touch(uint64_t sector, bool write) {
    const uint64_t page = sector / kSectorsPerPage, bit = sector % kSectorsPerPage;
    if (page != last_page_) last_ = &pages_[page], last_page_ = page;
    (write ? last_->written : last_->read)[bit / 64] |= uint64_t{1} << bit % 64;
  }
  void add(const Footprint& other);
  // By address over 4096.
  const std::unordered_map<uint64_t, Page>& pages() const { return pages_; }
  uint64_t read_sectors() const;
  uint64_t written_sectors() const;

 private:
  static constexpr uint64_t kSectorsPerPage = kPageBytes / kSectorBytes;
  std::unordered_map<uint64_t, Page> pages_;
  uint64_t last_page_ = ~uint64_t{0};
  Page* last_ = nullptr;
};

// The first-level cache, as one block sees it: lines of four sectors, each fetched when it is first
// wanted; sets of four lines, the least recently used one gives way. Stores pass through.
class L1Cache {
 public:
  explicit L1Cache(size_t bytes);
  void clear();
  // Whether the sector was there; it is afterwards.
  bool read(uint64_t sector);

 private:
  static constexpr size_t kWays = 4;
  struct Line {
    uint64_t number = ~uint64_t{0}, used = 0;
    uint8_t sectors = 0;
  };
  std::vector<Line> lines_;
  size_t sets_;
  uint64_t time_ = 0;
};

// Of one host thread's blocks.
struct Traffic {
  explicit Traffic(size_t l1_bytes) : l1(l1_bytes) {}
  L1Cache l1;
  Footprint footprint;
  uint64_t l2_read_sectors = 0, l2_written_sectors = 0;

  void load(uint64_t sector, bool through_l1) {
    footprint.touch(sector, false);
    if (!through_l1 || !l1.read(sector)) ++l2_read_sectors;
  }
  void store(uint64_t sector) {
    footprint.touch(sector, true);
    ++l2_written_sectors;
  }
};

}  // namespace diffscm::softgpu
