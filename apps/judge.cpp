#include "apps/judge.h"

#include <memory>

#include "apps/networks.h"
#include "models/oracle.h"

namespace diffscm::apps {
namespace {

Judge oracle_judge(const std::string& path, const DiffusionModel& model) {
  auto loaded = std::make_shared<LoadedModel<Oracle>>(load_model<Oracle>(path, model.target()));
  const OracleConfig& c = loaded->model.config();
  const Shape s = model.image_shape(1);
  require(c.image_size == s[1] && c.in_channels == s[3],
          "{} judges {}x{}x{} images, {} makes {}x{}x{}", path, c.image_size, c.image_size,
          c.in_channels, model.info().path, s[1], s[2], s[3]);
  return {loaded->info, learnt_category(loaded->info), c.classes,
          [loaded, target = model.target()](const Tensor& images) {
            return loaded->model.probabilities(images.to(target));
          }};
}

Judge classifier_judge(std::shared_ptr<const AntiCausalPredictor> predictor) {
  return {predictor->info(), predictor->attribute(), predictor->classes(),
          [predictor](const Tensor& images) { return predictor->predict(images); }};
}

// The oracle beside the model, if it is of the same data and images; else nothing.
std::string oracle_beside(const DiffusionModel& model) {
  const std::string path = NetworkFolder("", model.info()).sole("oracle");
  if (path.empty()) return path;
  const nlohmann::json of_oracle = read_model_info(path).data, &of_model = model.info().data;
  for (const char* key : {"name", "height", "width", "channels"})
    if (of_oracle.value(key, nlohmann::json()) != of_model.value(key, nlohmann::json())) return "";
  return path;
}

}  // namespace

std::optional<Judge> find_judge(const std::string& given, const DiffusionModel& model,
                                const AntiCausalPredictor* guide) {
  const std::string path = given.empty() ? oracle_beside(model) : given;
  if (!path.empty()) {
    const std::string kind = read_model_info(path).kind;
    if (kind == Oracle::kKind) return oracle_judge(path, model);
    require(kind == Classifier::kKind, "--judge {}: kind is {}, expected oracle or classifier",
            path, kind);
    return classifier_judge(std::make_shared<const AntiCausalPredictor>(path, model));
  }
  if (guide == nullptr) return std::nullopt;
  return classifier_judge(std::make_shared<const AntiCausalPredictor>(*guide));
}

}  // namespace diffscm::apps
