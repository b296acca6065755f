#include "apps/report/counterfactual_page.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <regex>

#include "engine/io/picture_file.h"
#include "tests/engine/io_testing.h"

namespace diffscm::apps {
namespace {

using Json = nlohmann::json;
using testing::expect_error;

io::GridImage flat(float value, int64_t channels = 1) {
  return {2, 3, channels, std::vector<float>(static_cast<size_t>(6 * channels), value), {}};
}

// Two images at scales out of order; the second could not be solved and has no film.
CounterfactualPage example() {
  CounterfactualPage page;
  page.title = "do(digit = 5)";
  page.facts = {{"model", "unet"}, {"device", "cpu"}};
  page.judge = "guiding classifier";
  page.scales = {2, 0.1, 0.7};
  page.film_scale = 0.7;
  page.images.resize(2);
  CounterfactualPage::Image& a = page.images[0];
  a.index = 17;
  a.label = "3";
  a.target = "5";
  a.converged = true;
  a.residual = 0.0015;
  a.roundtrip_l1 = 0.004;
  a.factual = flat(0);
  a.reconstruction = flat(0.1f);
  a.counterfactual = {flat(1), flat(-0.5f), flat(0.5f)};
  a.p_target = {0.99, 0.125, 0.7};
  a.l1 = {30.5, 2.25, 12};
  a.flipped = {1, 0, 1};
  a.up = {flat(0.2f), flat(0.3f)};
  a.down = {flat(0.4f), flat(0.3f)};
  a.levels = {25, 50};
  CounterfactualPage::Image& b = page.images[1] = a;
  b.index = 18;
  b.converged = false;
  b.residual = std::nullopt;
  b.up.clear();
  b.down.clear();
  b.levels.clear();
  return page;
}

// The text of the element that starts with `tag`, as a browser cuts it out.
std::string element(const std::string& html, const std::string& tag) {
  const size_t begin = html.find(tag);
  EXPECT_NE(begin, std::string::npos) << tag;
  const size_t end = html.find("</script", begin);
  return html.substr(begin + tag.size(), end - begin - tag.size());
}

Json data(const std::string& html) {
  return Json::parse(element(html, R"(<script type="application/json" id="data">)"));
}

io::Picture decoded(const std::string& url) {
  const std::string prefix = "data:image/png;base64,";
  EXPECT_EQ(url.substr(0, prefix.size()), prefix);
  const std::string text = url.substr(prefix.size());
  std::string bytes(text.size() / 4 * 3, '\0');
  EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                  reinterpret_cast<const unsigned char*>(text.data()),
                  static_cast<int>(text.size()));
  testing::TemporaryFolder folder;
  testing::put(folder / "a.png", bytes);
  return io::read_picture(folder / "a.png");
}

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++n;
  return n;
}

TEST(CounterfactualPage, carries_its_values_in_the_order_of_the_scales) {
  const Json page = data(to_html(example()));
  EXPECT_EQ(page["scales"], Json({0.1, 0.7, 2}));
  EXPECT_EQ(page["film_scale"], 0.7);
  EXPECT_EQ(page["judge"], "guiding classifier");
  EXPECT_EQ(page["height"], 2);
  EXPECT_EQ(page["width"], 3);
  ASSERT_EQ(page["images"].size(), 2u);
  const Json& a = page["images"][0];
  EXPECT_EQ(a["index"], 17);
  EXPECT_EQ(a["label"], "3");
  EXPECT_EQ(a["target"], "5");
  EXPECT_EQ(a["converged"], true);
  EXPECT_EQ(a["residual"], 0.0015);
  EXPECT_EQ(a["roundtrip_l1"], 0.004);
  EXPECT_EQ(a["p_target"], Json({0.125, 0.7, 0.99}));
  EXPECT_EQ(a["l1"], Json({2.25, 12, 30.5}));
  EXPECT_EQ(a["flipped"], Json({false, true, true}));
  EXPECT_EQ(a["levels"], Json({25, 50}));
  const Json& b = page["images"][1];
  EXPECT_EQ(b["converged"], false);
  EXPECT_TRUE(b["residual"].is_null());
  EXPECT_TRUE(b["up"].empty() && b["down"].empty());
}

TEST(CounterfactualPage, of_what_is_not_finite_nobody_says_a_number) {
  CounterfactualPage given = example();
  given.images[0].p_target[2] = given.images[0].l1[2] = std::nan("");  // at 0.7, between the others
  const Json page = data(to_html(given));
  const Json& a = page["images"][0];
  EXPECT_EQ(a["p_target"], Json({0.125, nullptr, 0.99}));
  EXPECT_EQ(a["l1"], Json({2.25, nullptr, 30.5}));
  EXPECT_EQ(a["flipped"], Json({false, nullptr, true}));
}

TEST(CounterfactualPage, pictures_are_those_given_pixel_for_pixel) {
  const CounterfactualPage page = example();
  const Json given = data(to_html(page));
  const Json& a = given["images"][0];
  const auto grey = [](const Json& url) {
    const io::Picture picture = decoded(url.get<std::string>());
    EXPECT_EQ(picture.height, 2);
    EXPECT_EQ(picture.width, 3);
    EXPECT_EQ(picture.channels, 1);
    return int{picture.pixels.at(5)};
  };
  EXPECT_EQ(grey(a["factual"]), 128);
  EXPECT_EQ(grey(a["reconstruction"]), 140);
  EXPECT_EQ(grey(a["counterfactual"][0]), 64);
  EXPECT_EQ(grey(a["counterfactual"][1]), 191);
  EXPECT_EQ(grey(a["counterfactual"][2]), 255);
  EXPECT_EQ(grey(a["up"][0]), 153);
  EXPECT_EQ(grey(a["up"][1]), 166);
  EXPECT_EQ(grey(a["down"][0]), 179);

  // Blue where the counterfactual is darker, red where it is brighter.
  const size_t scale_of[] = {1, 2, 0};
  for (size_t i = 0; i < 3; ++i) {
    const io::Picture difference = decoded(a["difference"][i].get<std::string>());
    const io::GridImage expected =
        io::signed_difference(page.images[0].counterfactual[scale_of[i]], page.images[0].factual);
    EXPECT_EQ(difference.pixels, io::to_picture(expected).pixels) << i;
    EXPECT_EQ(difference.pixels[0] > difference.pixels[2], i > 0) << i;
  }
}

TEST(CounterfactualPage, colour_images_keep_their_colour) {
  CounterfactualPage page = example();
  page.images.resize(1);
  CounterfactualPage::Image& a = page.images[0];
  for (auto* pictures : {&a.counterfactual, &a.up, &a.down})
    for (io::GridImage& p : *pictures) p = flat(0, 3);
  a.factual = a.reconstruction = flat(0, 3);
  a.factual.pixels[0] = 1;
  const io::Picture factual =
      decoded(data(to_html(page))["images"][0]["factual"].get<std::string>());
  EXPECT_EQ(factual.channels, 3);
  EXPECT_EQ(factual.pixels, io::to_picture(a.factual).pixels);
}

TEST(CounterfactualPage, hostile_text_stays_text) {
  const std::string hostile = "</script><script>alert('&\"')</script><!--<script>{{data}}";
  CounterfactualPage page = example();
  const std::string plain = to_html(page);
  page.title = page.judge = hostile;
  page.facts = {{hostile, hostile}};
  for (auto& image : page.images) image.label = image.target = hostile;
  page.images[1].label = "caf\xe9";  // Latin-1: not UTF-8
  const std::string html = to_html(page);
  const Json given = data(html);
  EXPECT_EQ(given["judge"], hostile);
  EXPECT_EQ(given["images"][0]["label"], hostile);
  EXPECT_EQ(given["images"][0]["target"], hostile);
  EXPECT_EQ(given["images"][1]["label"], "caf\xef\xbf\xbd");  // U+FFFD
  for (const char* part : {"<script", "</script", "<!--", "alert('&\""})
    EXPECT_EQ(count(html, part), count(plain, part)) << part;
  EXPECT_NE(html.find("<title>&lt;/script&gt;&lt;script&gt;"), std::string::npos);
}

TEST(CounterfactualPage, needs_nothing_from_the_network) {
  const std::string html = to_html(example());
  EXPECT_EQ(html.find("http://"), std::string::npos);
  EXPECT_EQ(html.find("https://"), std::string::npos);
  EXPECT_NE(html.find("default-src 'none'; img-src data:;"), std::string::npos);
  const std::regex reference("(src|href)=\"([^\"]*)\"");
  for (std::sregex_iterator i(html.begin(), html.end(), reference), end; i != end; ++i)
    EXPECT_EQ((*i)[2].str().rfind("data:", 0), 0u) << (*i)[0];
}

TEST(CounterfactualPage, script_finds_every_element_that_it_asks_for) {
  const std::string html = to_html(example());
  EXPECT_EQ(html.find("[[st"), std::string::npos);
  EXPECT_EQ(html.find("[[sc"), std::string::npos);
  EXPECT_NE(html.find("prefers-color-scheme: dark"), std::string::npos);
  const std::string script = element(html, "<script>");
  size_t found = 0;
  const std::regex asked("(byId|part)\\('([a-z-]+)'\\)");
  for (std::sregex_iterator i(script.begin(), script.end(), asked), end; i != end; ++i, ++found) {
    const std::string attribute = (*i)[1] == "byId" ? " id=\"" : " data-part=\"";
    EXPECT_EQ(count(html, attribute + (*i)[2].str() + "\""), 1u) << (*i)[0];
  }
  EXPECT_GT(found, 20u);
}

TEST(CounterfactualPage, without_a_judge_there_is_nothing_to_flip) {
  CounterfactualPage page = example();
  page.judge.clear();
  expect_error([&] { to_html(page); }, "image 17 of the page has 3 entries of 'p_target'");
  for (auto& image : page.images) {
    image.p_target.clear();
    image.flipped.clear();
  }
  const Json given = data(to_html(page));
  EXPECT_EQ(given["judge"], "");
  EXPECT_TRUE(given["images"][0]["p_target"].empty());
  EXPECT_TRUE(given["images"][0]["flipped"].empty());
}

TEST(CounterfactualPage, numbers_that_are_none_become_null) {
  CounterfactualPage page = example();
  page.images[0].l1[1] = std::nan("");
  page.images[0].residual = INFINITY;
  const Json given = data(to_html(page));
  EXPECT_TRUE(given["images"][0]["l1"][0].is_null());
  EXPECT_TRUE(given["images"][0]["residual"].is_null());
}

TEST(CounterfactualPage, counts_and_sizes_that_do_not_fit_are_named) {
  const auto broken = [](const std::function<void(CounterfactualPage&)>& change) {
    return [change] {
      CounterfactualPage page = example();
      change(page);
      to_html(page);
    };
  };
  expect_error(broken([](auto& p) { p.images.clear(); }), "shows nothing");
  expect_error(broken([](auto& p) { p.images[1].l1.pop_back(); }),
               "image 18 of the page has 2 entries of 'l1', expected 3");
  expect_error(broken([](auto& p) { p.images[0].down.pop_back(); }),
               "image 17 of the page has 1 entries of 'down', expected 2");
  expect_error(broken([](auto& p) {
                 p.images[1].factual = {1, 1, 1, {0}, {}};
               }),
               "image 18 of the page has pictures of 2 x 3 and 1 x 1");
  expect_error(broken([](auto& p) { p.film_scale = 1; }), "film's guidance scale 1");
}

// Ten images of MNIST's size at five scales, with a film of noise, which does not compress.
TEST(CounterfactualPage, ten_images_stay_below_a_megabyte) {
  CounterfactualPage page = example();
  uint32_t state = 1;
  const auto noise = [&] {
    io::GridImage image{28, 28, 1, {}, {}};
    for (int i = 0; i < 28 * 28; ++i)
      image.pixels.push_back(
          static_cast<float>((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-23f - 1);
    return image;
  };
  page.scales = {0.1, 0.3, 0.7, 1, 2};
  CounterfactualPage::Image& a = page.images[0];
  a.factual = a.reconstruction = noise();
  a.counterfactual.assign(5, noise());
  a.p_target = a.l1 = {1, 2, 3, 4, 5};
  a.flipped = {0, 0, 0, 0, 1};
  a.up.assign(12, noise());
  a.down.assign(12, noise());
  a.levels = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  page.images.assign(10, CounterfactualPage::Image(a));
  EXPECT_LT(to_html(page).size(), 1000000u);
}

}  // namespace
}  // namespace diffscm::apps
