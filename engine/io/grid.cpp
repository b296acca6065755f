#include "engine/io/grid.h"

#include <algorithm>
#include <cmath>

#include "engine/io/text.h"
#include "kernels/error.h"

namespace diffscm::io {
namespace {

constexpr Colour kPaper{255, 255, 255}, kInk{32, 36, 44}, kFaint{96, 102, 112};
constexpr Colour kMarked{192, 57, 43};
constexpr Colour kFrame{205, 209, 215}, kNotANumber{255, 0, 255};
constexpr int64_t kMargin = 20, kGap = 8, kRowGap = 10, kFrameWidth = 1;
constexpr int64_t kTitleSize = 2, kSpaceBelowTitle = 16, kSpaceBesideLabel = 12, kTextGap = 5;
constexpr int64_t kPreferredCell = 84;  // pixels, when the magnification is ours to choose
constexpr int64_t kPixelLimit = int64_t{1} << 27;
constexpr int64_t kSideLimit = 65535;

// Where everything goes. Texts are drawn at double size when the cells are wide enough for them,
// otherwise at single size in cells widened to the longest.
struct Layout {
  int64_t magnification = 1;
  int64_t cell_width = 0, cell_height = 0;  // of the images, with their frame
  int64_t label_width = 0, label_size = 2;
  int64_t column_size = 2, caption_size = 1;
  int64_t columns = 0;
  int64_t left = 0, top = 0;        // of the first cell
  int64_t pitch = 0;                // from column to column
  std::vector<int64_t> row_height;  // with captions
  int64_t width = 0, height = 0;
};

template <class Texts>
int64_t widest(const Texts& texts, int64_t size) {
  int64_t width = 0;
  for (const std::string& text : texts) width = std::max(width, text_width(text, size));
  return width;
}

std::vector<std::string> lines_of(const std::string& caption) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < caption.size();) {
    const size_t end = std::min(caption.find('\n', begin), caption.size());
    lines.push_back(caption.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

int64_t line_height(int64_t size) {
  return size * kCapHeight + kTextGap;
}

void check(const GridImage& image) {
  const bool empty = image.height == 0 && image.width == 0 && image.pixels.empty();
  require(empty || (image.height > 0 && image.width > 0 && image.height <= kSideLimit &&
                    image.width <= kSideLimit && (image.channels == 1 || image.channels == 3) &&
                    image.pixels.size() ==
                        static_cast<size_t>(image.height * image.width * image.channels)),
          "an image of {} x {} x {} with {} values cannot be drawn", image.height, image.width,
          image.channels, image.pixels.size());
}

Layout plan(const std::vector<GridRow>& rows, const GridOptions& options) {
  Layout layout;
  int64_t image_height = 1, image_width = 1;
  std::vector<std::string> labels, captions;
  layout.columns = static_cast<int64_t>(options.columns.size());
  for (const GridRow& row : rows) {
    labels.push_back(row.label);
    layout.columns = std::max(layout.columns, static_cast<int64_t>(row.images.size()));
    for (const GridImage& image : row.images) {
      check(image);
      for (std::string& line : lines_of(image.caption)) captions.push_back(std::move(line));
      image_height = std::max(image_height, image.height);
      image_width = std::max(image_width, image.width);
    }
  }
  layout.magnification = options.magnification > 0
                             ? options.magnification
                             : std::max<int64_t>(1, kPreferredCell / image_width);
  layout.cell_width = image_width * layout.magnification + 2 * kFrameWidth;
  layout.cell_height = image_height * layout.magnification + 2 * kFrameWidth;
  if (widest(options.columns, 2) > layout.cell_width) layout.column_size = 1;
  if (widest(captions, 2) <= layout.cell_width) layout.caption_size = 2;
  const int64_t text =
      std::max(widest(options.columns, layout.column_size), widest(captions, layout.caption_size));
  layout.pitch = std::max(layout.cell_width, text) + kGap;
  layout.label_width = widest(labels, layout.label_size);

  layout.left = kMargin + (layout.label_width > 0 ? layout.label_width + kSpaceBesideLabel : 0);
  layout.top = kMargin;
  if (!options.title.empty()) layout.top += kTitleSize * kCapHeight + kSpaceBelowTitle;
  if (!options.columns.empty()) layout.top += layout.column_size * kCapHeight + kTextGap + 2;
  layout.height = layout.top;
  for (const GridRow& row : rows) {
    int64_t lines = 0;
    for (const GridImage& image : row.images)
      lines = std::max<int64_t>(lines, std::ssize(lines_of(image.caption)));
    layout.row_height.push_back(
        layout.cell_height + (lines > 0 ? lines * line_height(layout.caption_size) + kTextGap : 0));
    layout.height += layout.row_height.back() + kRowGap;
  }
  layout.height += kMargin - (rows.empty() ? 0 : kRowGap);
  layout.width = std::max(layout.left + layout.columns * layout.pitch - kGap + kMargin,
                          2 * kMargin + text_width(options.title, kTitleSize));
  require(layout.width <= kSideLimit && layout.height <= kSideLimit &&
              layout.width * layout.height <= kPixelLimit,
          "a picture of {} x {} pixels is too large: draw fewer images", layout.width,
          layout.height);
  return layout;
}

uint8_t to_byte(float value) {
  return static_cast<uint8_t>(std::lround((std::clamp(value, -1.0f, 1.0f) + 1.0f) * 127.5f));
}

Colour colour_of(const GridImage& image, int64_t pixel) {
  const float* values = image.pixels.data() + pixel * image.channels;
  Colour colour;
  for (int64_t c = 0; c < 3; ++c) {
    const float value = values[image.channels == 3 ? c : 0];
    if (std::isnan(value)) return kNotANumber;
    colour[static_cast<size_t>(c)] = to_byte(value);
  }
  return colour;
}

// The image with its frame, centred in the cell whose top left corner is (x, y).
void draw_image(Picture& picture, const Layout& layout, const GridImage& image, int64_t x,
                int64_t y) {
  const int64_t m = layout.magnification;
  const int64_t width = image.width * m, height = image.height * m;
  x += (layout.cell_width - width) / 2;
  y += (layout.cell_height - height) / 2;
  fill_rectangle(picture, x - kFrameWidth, y - kFrameWidth, width + 2 * kFrameWidth,
                 height + 2 * kFrameWidth, kFrame);
  for (int64_t row = 0; row < image.height; ++row)
    for (int64_t column = 0; column < image.width; ++column)
      fill_rectangle(picture, x + column * m, y + row * m, m, m,
                     colour_of(image, row * image.width + column));
}

}  // namespace

GridImage grid_image(const Tensor& batch, int64_t n, std::string caption) {
  require(batch.rank() == 4, "images have shape [N, H, W, C], not {}", to_string(batch.shape()));
  require(n >= 0 && n < batch.dim(0), "image {} of a batch of {}", n, batch.dim(0));
  return {batch.dim(1), batch.dim(2), batch.dim(3), batch.slice(n, n + 1).to_vector(),
          std::move(caption)};
}

GridImage signed_difference(const GridImage& a, const GridImage& b, float full,
                            std::string caption) {
  check(a);
  check(b);
  require(a.height == b.height && a.width == b.width && a.channels == b.channels,
          "images of {} x {} x {} and {} x {} x {} have no difference", a.height, a.width,
          a.channels, b.height, b.width, b.channels);
  require(full > 0, "the full scale of a difference is {}, it must be positive", full);
  // What each colour loses per unit of difference (red keeps its red, blue its blue).
  constexpr float kRedLoss[3] = {0.3f, 1.8f, 1.7f}, kBlueLoss[3] = {1.75f, 1.3f, 0.35f};
  GridImage out{a.height, a.width, 3, {}, std::move(caption)};
  out.pixels.reserve(static_cast<size_t>(a.height * a.width * 3));
  for (int64_t pixel = 0; pixel < a.height * a.width; ++pixel) {
    float difference = 0;
    for (int64_t c = pixel * a.channels; c < (pixel + 1) * a.channels; ++c)
      difference += a.pixels[static_cast<size_t>(c)] - b.pixels[static_cast<size_t>(c)];
    difference /= static_cast<float>(a.channels) * full;
    const float amount = std::min(std::abs(difference), 1.0f) + 0.0f * difference;  // keeps NaN
    const float* loss = difference > 0 ? kRedLoss : kBlueLoss;
    for (int c = 0; c < 3; ++c) out.pixels.push_back(1.0f - amount * loss[c]);
  }
  return out;
}

Picture to_picture(const GridImage& image) {
  check(image);
  Picture picture{image.height, image.width, 3, {}};
  for (int64_t pixel = 0; pixel < image.height * image.width; ++pixel) {
    const Colour colour = colour_of(image, pixel);
    picture.pixels.insert(picture.pixels.end(), colour.begin(), colour.end());
  }
  return picture;
}

Picture draw_grid(const std::vector<GridRow>& rows, const GridOptions& options) {
  const Layout layout = plan(rows, options);
  Picture picture{layout.height, layout.width, 3, {}};
  picture.pixels.resize(static_cast<size_t>(layout.height * layout.width * 3));
  fill_rectangle(picture, 0, 0, layout.width, layout.height, kPaper);
  draw_text(picture, kMargin, kMargin, options.title, kTitleSize, kInk);

  const auto draw_centred = [&](int64_t column, int64_t y, const std::string& text, int64_t size,
                                Colour colour) {
    const int64_t centre = layout.left + column * layout.pitch + (layout.pitch - kGap) / 2;
    draw_text(picture, centre - text_width(text, size) / 2, y, text, size, colour);
  };
  for (size_t column = 0; column < options.columns.size(); ++column)
    draw_centred(static_cast<int64_t>(column),
                 layout.top - layout.column_size * kCapHeight - kTextGap - 2,
                 options.columns[column], layout.column_size, kInk);
  int64_t y = layout.top;
  for (size_t r = 0; r < rows.size(); ++r) {
    const GridRow& row = rows[r];
    draw_text(picture, kMargin + layout.label_width - text_width(row.label, layout.label_size),
              y + (layout.cell_height - layout.label_size * kCapHeight) / 2, row.label,
              layout.label_size, kInk);
    for (size_t i = 0; i < row.images.size(); ++i) {
      const auto column = static_cast<int64_t>(i);
      const int64_t x =
          layout.left + column * layout.pitch + (layout.pitch - kGap - layout.cell_width) / 2;
      if (row.images[i].width > 0) draw_image(picture, layout, row.images[i], x, y);
      int64_t below = y + layout.cell_height + kTextGap;
      for (const std::string& line : lines_of(row.images[i].caption)) {
        draw_centred(column, below, line, layout.caption_size, line[0] == '*' ? kMarked : kFaint);
        below += line_height(layout.caption_size);
      }
    }
    y += layout.row_height[r] + kRowGap;
  }
  return picture;
}

void write_grid(const std::filesystem::path& path, const std::vector<GridRow>& rows,
                const GridOptions& options) {
  write_png(path, draw_grid(rows, options));
}

}  // namespace diffscm::io
