// A picture of rows of images with labels: what a counterfactual run shows.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/io/png.h"
#include "engine/tensor.h"

namespace diffscm::io {

// Values in [-1, 1]: -1 black, 1 white. Values outside are clamped; NaN is drawn in magenta.
struct GridImage {
  int64_t height = 0, width = 0, channels = 0;  // 1 or 3 channels; 0 x 0 leaves the cell empty
  std::vector<float> pixels;
  std::string caption;  // below the image, in lines; those that begin with * stand out
};

struct GridRow {
  std::string label;  // left of the row
  std::vector<GridImage> images;
};

struct GridOptions {
  std::string title;
  std::vector<std::string> columns;  // above the columns
  int magnification = 0;             // screen pixels per image pixel; 0 chooses
};

// Image `n` of a batch [N, H, W, C] on any target.
GridImage grid_image(const Tensor& batch, int64_t n, std::string caption = {});

// a - b in colour: red where a is greater, blue where it is less, white where equal; the deepest
// colour is a difference of `full` or more. Channels are averaged.
GridImage signed_difference(const GridImage& a, const GridImage& b, float full = 1.0f,
                            std::string caption = {});

// One image alone, pixel for pixel.
Picture to_picture(const GridImage& image);

// Throws Error when an image's pixels do not fill its size, or the picture would be unreasonably
// large.
Picture draw_grid(const std::vector<GridRow>& rows, const GridOptions& options = {});
void write_grid(const std::filesystem::path& path, const std::vector<GridRow>& rows,
                const GridOptions& options = {});

}  // namespace diffscm::io
