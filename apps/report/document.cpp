#include "apps/report/document.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include "apps/report/chart.h"
#include "kernels/error.h"

namespace diffscm::apps {
namespace {

constexpr const char* kStyle = R"css(
:root { color-scheme: light; --ink: #1f2430; --faint: #5b6370; --line: #d9dde3; --good: #e3f3e6; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1100px; padding: 24px 20px 64px; color: var(--ink);
       background: #fff; font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 8px; }
h2 { font-size: 1.25rem; margin: 40px 0 8px; border-top: 1px solid var(--line); padding-top: 20px; }
p { max-width: 72ch; margin: 8px 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 12px 0; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: 12px 0; background-repeat: no-repeat;
        background-attachment: local, local, scroll, scroll;  /* a shadow where there is more */
        background-size: 48px 100%, 48px 100%, 12px 100%, 12px 100%;
        background-position: left, right, left, right;
        background-image: linear-gradient(to right, #fff 40%, #fff0),
          linear-gradient(to left, #fff 40%, #fff0),
          linear-gradient(to right, #1f243038, #1f243000),
          linear-gradient(to left, #1f243038, #1f243000); }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px; text-align: right; white-space: nowrap;
         border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
thead th { color: var(--faint); font-weight: 600; }
td.best { background: var(--good); font-weight: 600; }
figure { margin: 16px 0; } figcaption { color: var(--faint); font-size: 0.9rem; max-width: 72ch; }
figure svg { width: 100%; min-width: 540px; max-width: 760px; height: auto; display: block; }
.images td, .images th { padding: 3px; text-align: center; border: 0; font-size: 0.78rem; }
.images th:first-child { text-align: right; padding-right: 10px; font-weight: 500; }
.images img { width: 64px; height: 64px; image-rendering: pixelated; display: block;
              border: 1px solid var(--line); }
.images .caption { color: var(--faint); white-space: pre-line; }
details { margin: 8px 0; } summary { cursor: pointer; color: var(--faint); }
@media (max-width: 600px) {
  body { padding: 16px 12px 48px; font-size: 15px; } .images img { width: 48px; height: 48px; }
  dl { grid-template-columns: 1fr; } dd { margin-bottom: 6px; }
  th, td { padding: 5px 6px; }
  th:first-child, td:first-child { white-space: normal; max-width: 38vw; }
}
)css";

std::string base64(const std::vector<uint8_t>& bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3), '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes.data(),
                  static_cast<int>(bytes.size()));
  return text;
}

}  // namespace

std::string data_url(const io::GridImage& image) {
  io::Picture picture = io::to_picture(image);
  const std::vector<uint8_t>& p = picture.pixels;
  bool grey = picture.channels == 3;
  for (size_t i = 0; grey && i < p.size(); i += 3) grey = p[i] == p[i + 1] && p[i] == p[i + 2];
  if (grey) {
    for (size_t i = 0; i < p.size() / 3; ++i) picture.pixels[i] = p[3 * i];
    picture.pixels.resize(p.size() / 3);
    picture.channels = 1;
  }
  return "data:image/png;base64," + base64(io::encode_png(picture));
}

void Document::section(const std::string& heading) {
  body_ += fmt::format("<h2>{}</h2>\n", escape_html(heading));
}

void Document::paragraph(const std::string& text) {
  body_ += fmt::format("<p>{}</p>\n", escape_html(text));
}

void Document::facts(const std::vector<std::pair<std::string, std::string>>& facts) {
  body_ += "<dl>\n";
  for (const auto& [name, value] : facts)
    body_ += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape_html(name), escape_html(value));
  body_ += "</dl>\n";
}

void Document::table(const Table& table) {
  body_ += "<div class=\"wide\"><table>\n<thead><tr><th></th>";
  for (const TableColumn& c : table.columns)
    body_ += fmt::format("<th title=\"{}\">{}{}</th>", escape_html(c.note), escape_html(c.title),
                         c.better > 0   ? " &uarr;"
                         : c.better < 0 ? " &darr;"
                                        : "");
  body_ += "</tr></thead>\n<tbody>\n";
  for (const auto& [head, cells] : table.rows) {
    body_ += fmt::format("<tr><td>{}</td>", escape_html(head));
    for (const TableCell& cell : cells)
      body_ +=
          fmt::format("<td{}>{}</td>", cell.best ? " class=\"best\"" : "", escape_html(cell.text));
    body_ += "</tr>\n";
  }
  body_ += "</tbody></table></div>\n<details><summary>What the columns mean</summary>\n<dl>\n";
  for (const TableColumn& c : table.columns)
    body_ += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape_html(c.title), escape_html(c.note));
  body_ += "</dl></details>\n";
}

void Document::svg(const std::string& element, const std::string& caption) {
  body_ += fmt::format("<figure><div class=\"wide\">{}</div><figcaption>{}</figcaption></figure>\n",
                       element, escape_html(caption));
}

void Document::images(const std::vector<io::GridRow>& rows, const std::vector<std::string>& columns,
                      const std::string& caption) {
  body_ += "<figure><div class=\"wide\"><table class=\"images\">\n";
  if (!columns.empty()) {
    body_ += "<tr><th></th>";
    for (const std::string& column : columns)
      body_ += fmt::format("<td class=\"caption\">{}</td>", escape_html(column));
    body_ += "</tr>\n";
  }
  for (const io::GridRow& row : rows) {
    body_ += fmt::format("<tr><th>{}</th>", escape_html(row.label));
    for (const io::GridImage& image : row.images) {
      body_ += "<td>";
      if (image.width > 0)
        body_ +=
            fmt::format("<img alt=\"{}\" src=\"{}\">", escape_html(row.label), data_url(image));
      if (!image.caption.empty())
        body_ += fmt::format("<span class=\"caption\">{}</span>", escape_html(image.caption));
      body_ += "</td>";
    }
    body_ += "</tr>\n";
  }
  body_ +=
      fmt::format("</table></div><figcaption>{}</figcaption></figure>\n", escape_html(caption));
}

std::string Document::html() const {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>{0}</title><style>{1}</style></head>\n<body>\n<h1>{0}</h1>\n{2}</body></html>\n",
      escape_html(title_), kStyle, body_);
}

}  // namespace diffscm::apps
