// One self-contained HTML page: no script, nothing from the network, pictures inside.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/io/grid.h"

namespace diffscm::apps {

struct TableCell {
  std::string text;
  bool best = false;
};
struct TableColumn {
  std::string title;
  std::string note;  // shown on hover and below the table
  int better = 0;    // +1, -1: an arrow says which way is good
};
struct Table {
  std::vector<TableColumn> columns;  // of the cells, without the row's head
  std::vector<std::pair<std::string, std::vector<TableCell>>> rows;
};

// The image as a PNG inside a URL, "data:image/png;base64,..."; one channel where it is grey.
std::string data_url(const io::GridImage& image);

class Document {
 public:
  explicit Document(std::string title) : title_(std::move(title)) {}

  void section(const std::string& heading);
  void paragraph(const std::string& text);
  // Name and value pairs.
  void facts(const std::vector<std::pair<std::string, std::string>>& facts);
  void table(const Table& table);
  void svg(const std::string& element, const std::string& caption);
  // Rows of images with labels on the left and captions below; scrolls sideways on a phone.
  void images(const std::vector<io::GridRow>& rows, const std::vector<std::string>& columns,
              const std::string& caption);

  std::string html() const;

 private:
  std::string title_, body_;
};

}  // namespace diffscm::apps
