#include "apps/report/counterfactual_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/report/chart.h"
#include "apps/report/document.h"
#include "apps/report/templates.h"
#include "engine/io/json.h"
#include "kernels/error.h"

namespace diffscm::apps {
namespace {

using Json = nlohmann::ordered_json;

void check(const CounterfactualPage& page) {
  require(!page.scales.empty() && !page.images.empty(),
          "a page of {} images and {} guidance scales shows nothing", page.images.size(),
          page.scales.size());
  const io::GridImage& first = page.images[0].factual;
  for (const CounterfactualPage::Image& image : page.images) {
    const auto expect = [&](const char* what, size_t count, size_t expected) {
      require(count == expected, "image {} of the page has {} entries of '{}', expected {}",
              image.index, count, what, expected);
    };
    expect("counterfactual", image.counterfactual.size(), page.scales.size());
    expect("l1", image.l1.size(), page.scales.size());
    expect("p_target", image.p_target.size(), page.judge.empty() ? 0 : page.scales.size());
    expect("flipped", image.flipped.size(), page.judge.empty() ? 0 : page.scales.size());
    expect("up", image.up.size(), image.levels.size());
    expect("down", image.down.size(), image.levels.size());
    require(
        image.levels.empty() || std::count(page.scales.begin(), page.scales.end(), page.film_scale),
        "the film's guidance scale {} is not among those of the page", page.film_scale);
    const auto same_size = [&](const io::GridImage& picture) {
      require(picture.height == first.height && picture.width == first.width,
              "image {} of the page has pictures of {} x {} and {} x {}", image.index, first.height,
              first.width, picture.height, picture.width);
    };
    same_size(image.factual);
    same_size(image.reconstruction);
    for (const auto* pictures : {&image.counterfactual, &image.up, &image.down})
      std::ranges::for_each(*pictures, same_size);
  }
}

template <class T>
Json optional(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json urls(const std::vector<io::GridImage>& pictures) {
  Json list = Json::array();
  for (const io::GridImage& picture : pictures) list.push_back(data_url(picture));
  return list;
}

template <class T>
std::vector<T> reordered(const std::vector<T>& values, const std::vector<size_t>& order) {
  std::vector<T> out;
  if (!values.empty())
    for (const size_t i : order) out.push_back(values[i]);
  return out;
}

// What the script reads; members as in the struct.
Json data_of(const CounterfactualPage& page) {
  std::vector<size_t> order(page.scales.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return page.scales[i]; });
  Json images = Json::array();
  for (const CounterfactualPage::Image& image : page.images) {
    const std::vector<io::GridImage> counterfactual = reordered(image.counterfactual, order);
    std::vector<io::GridImage> difference;
    for (const io::GridImage& c : counterfactual)
      difference.push_back(io::signed_difference(c, image.factual));
    Json flipped = Json::array();
    for (const size_t i : image.flipped.empty() ? std::vector<size_t>() : order)
      flipped.push_back(std::isnan(image.p_target[i]) ? Json(nullptr)
                                                      : Json(image.flipped[i] != 0));
    images.push_back({{"index", image.index},
                      {"label", image.label},
                      {"target", image.target},
                      {"converged", optional(image.converged)},
                      {"residual", optional(image.residual)},
                      {"roundtrip_l1", image.roundtrip_l1},
                      {"factual", data_url(image.factual)},
                      {"reconstruction", data_url(image.reconstruction)},
                      {"counterfactual", urls(counterfactual)},
                      {"difference", urls(difference)},
                      {"p_target", reordered(image.p_target, order)},
                      {"l1", reordered(image.l1, order)},
                      {"flipped", flipped},
                      {"levels", image.levels},
                      {"up", urls(image.up)},
                      {"down", urls(image.down)}});
  }
  return {{"judge", page.judge},
          {"scales", reordered(page.scales, order)},
          {"film_scale", page.film_scale},
          {"height", page.images[0].factual.height},
          {"width", page.images[0].factual.width},
          {"images", images}};
}

// Without "<", so that no text inside can end the script element or open a comment in it.
std::string json_for_script(const Json& json) {
  const std::string text = io::dump(json);
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (c == '<') {
      out += "\\u003c";
    } else {
      out += c;
    }
  }
  return out;
}

// Replaces each {{name}} of the template once; what is put in is not looked at again.
std::string filled(std::string_view text, const std::map<std::string, std::string>& values) {
  std::string out;
  for (size_t open; (open = text.find("{{")) != std::string_view::npos;) {
    const size_t close = text.find("}}", open);
    out += text.substr(0, open);
    out += values.at(std::string(text.substr(open + 2, close - open - 2)));
    text.remove_prefix(close + 2);
  }
  return out.append(text);
}

}  // namespace

std::string to_html(const CounterfactualPage& page) {
  check(page);
  std::string facts;
  for (const auto& [name, value] : page.facts)
    facts += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape_html(name), escape_html(value));
  return filled(kCounterfactualPage, {{"title", escape_html(page.title)},
                                      {"facts", facts},
                                      {"data", json_for_script(data_of(page))}});
}

}  // namespace diffscm::apps
