#include "data/glyphs.h"

#include <algorithm>

#include "kernels/error.h"

namespace diffscm::data {
namespace {

using P = StrokePoint;
constexpr bool kCorner = true, kClosed = true;

constexpr P kZeroLoop[] = {{.52f, .02f}, {.25f, .16f}, {.15f, .50f}, {.27f, .86f},
                           {.50f, .98f}, {.75f, .84f}, {.85f, .48f}, {.75f, .14f}};
constexpr P kZeroOpen[] = {{.66f, .06f}, {.42f, .03f}, {.20f, .30f}, {.18f, .68f}, {.38f, .96f},
                           {.66f, .92f}, {.84f, .60f}, {.80f, .24f}, {.62f, .04f}, {.42f, .12f}};

constexpr P kOneStem[] = {{.53f, .01f}, {.51f, .50f}, {.48f, .99f}};
constexpr P kOneFlag[] = {
    {.30f, .26f}, {.45f, .15f}, {.57f, .01f, kCorner}, {.55f, .50f}, {.53f, .99f}};
constexpr P kOneBase[] = {{.28f, .98f}, {.53f, .98f}, {.78f, .97f}};

constexpr P kTwoPlain[] = {{.20f, .26f}, {.31f, .07f}, {.54f, .02f}, {.76f, .14f},
                           {.77f, .36f}, {.58f, .62f}, {.36f, .83f}, {.17f, .96f, kCorner},
                           {.48f, .95f}, {.84f, .94f}};
constexpr P kTwoLoop[] = {{.20f, .24f}, {.34f, .05f}, {.60f, .03f}, {.77f, .20f},
                          {.70f, .46f}, {.49f, .74f}, {.29f, .94f}, {.15f, .92f},
                          {.19f, .79f}, {.37f, .80f}, {.60f, .94f}, {.86f, .92f}};

constexpr P kThreeRound[] = {{.22f, .14f}, {.40f, .02f},          {.64f, .04f}, {.76f, .20f},
                             {.66f, .39f}, {.42f, .47f, kCorner}, {.68f, .53f}, {.81f, .72f},
                             {.70f, .92f}, {.44f, .99f},          {.18f, .88f}};
constexpr P kThreeFlat[] = {
    {.22f, .05f}, {.50f, .05f}, {.77f, .04f, kCorner}, {.60f, .23f}, {.42f, .41f, kCorner},
    {.67f, .46f}, {.81f, .66f}, {.72f, .90f},          {.46f, .99f}, {.18f, .90f}};

constexpr P kFourOpen[] = {{.27f, .04f}, {.19f, .34f}, {.23f, .54f}, {.46f, .59f}, {.72f, .52f}};
constexpr P kFourStem[] = {{.77f, .03f}, {.72f, .48f}, {.67f, .99f}};
constexpr P kFourClosed[] = {
    {.64f, .02f}, {.40f, .33f}, {.14f, .65f, kCorner}, {.50f, .65f}, {.88f, .63f}};
constexpr P kFourUpright[] = {{.64f, .02f}, {.64f, .50f}, {.62f, .99f}};

constexpr P kFiveBody[] = {{.30f, .05f}, {.27f, .24f}, {.24f, .45f, kCorner},
                           {.46f, .37f}, {.70f, .45f}, {.80f, .67f},
                           {.68f, .90f}, {.42f, .99f}, {.17f, .90f}};
constexpr P kFiveTop[] = {{.30f, .05f}, {.54f, .04f}, {.80f, .02f}};
constexpr P kFiveFlowing[] = {{.80f, .04f}, {.56f, .04f}, {.36f, .06f, kCorner}, {.27f, .26f},
                              {.32f, .42f}, {.56f, .46f}, {.75f, .60f},          {.73f, .83f},
                              {.51f, .98f}, {.19f, .93f}};

constexpr P kSixCurved[] = {{.70f, .03f}, {.44f, .18f}, {.25f, .46f}, {.21f, .75f}, {.38f, .97f},
                            {.64f, .95f}, {.78f, .76f}, {.66f, .57f}, {.43f, .58f}, {.24f, .76f}};
constexpr P kSixTall[] = {{.56f, .01f}, {.36f, .28f}, {.24f, .60f}, {.30f, .89f}, {.54f, .99f},
                          {.76f, .86f}, {.75f, .65f}, {.55f, .54f}, {.35f, .64f}, {.25f, .80f}};

constexpr P kSeven[] = {{.18f, .07f}, {.48f, .06f}, {.82f, .04f, kCorner},
                        {.63f, .38f}, {.50f, .68f}, {.42f, .99f}};
constexpr P kSevenBar[] = {{.35f, .53f}, {.54f, .50f}, {.74f, .48f}};
constexpr P kSevenSerif[] = {{.17f, .22f},          {.18f, .07f, kCorner}, {.50f, .06f},
                             {.82f, .05f, kCorner}, {.66f, .40f},          {.57f, .70f},
                             {.52f, .99f}};

constexpr P kEightCrossed[] = {{.70f, .09f}, {.46f, .02f}, {.27f, .17f}, {.38f, .38f},
                               {.63f, .56f}, {.76f, .79f}, {.56f, .98f}, {.31f, .92f},
                               {.24f, .72f}, {.43f, .52f}, {.67f, .35f}, {.77f, .19f}};
constexpr P kEightTop[] = {{.50f, .02f}, {.31f, .11f}, {.31f, .35f},
                           {.50f, .46f}, {.70f, .34f}, {.69f, .11f}};
constexpr P kEightBottom[] = {{.50f, .46f}, {.26f, .59f}, {.25f, .86f},
                              {.50f, .99f}, {.76f, .86f}, {.75f, .59f}};

constexpr P kNineStraight[] = {{.76f, .22f},          {.61f, .04f}, {.36f, .06f},
                               {.23f, .28f},          {.35f, .50f}, {.58f, .47f},
                               {.77f, .22f, kCorner}, {.75f, .60f}, {.69f, .99f}};
constexpr P kNineCurved[] = {{.74f, .25f}, {.62f, .04f}, {.36f, .05f},          {.23f, .27f},
                             {.35f, .50f}, {.60f, .47f}, {.75f, .24f, kCorner}, {.78f, .60f},
                             {.67f, .90f}, {.45f, .99f}, {.24f, .90f}};

constexpr Stroke kZeroA[] = {{kZeroLoop, kClosed}}, kZeroB[] = {{kZeroOpen}};
constexpr Stroke kOneA[] = {{kOneStem}}, kOneB[] = {{kOneFlag}}, kOneC[] = {{kOneFlag}, {kOneBase}};
constexpr Stroke kTwoA[] = {{kTwoPlain}}, kTwoB[] = {{kTwoLoop}};
constexpr Stroke kThreeA[] = {{kThreeRound}}, kThreeB[] = {{kThreeFlat}};
constexpr Stroke kFourA[] = {{kFourOpen}, {kFourStem}}, kFourB[] = {{kFourClosed}, {kFourUpright}};
constexpr Stroke kFiveA[] = {{kFiveBody}, {kFiveTop}}, kFiveB[] = {{kFiveFlowing}};
constexpr Stroke kSixA[] = {{kSixCurved}}, kSixB[] = {{kSixTall}};
constexpr Stroke kSevenA[] = {{kSeven}}, kSevenB[] = {{kSeven}, {kSevenBar}},
                 kSevenC[] = {{kSevenSerif}};
constexpr Stroke kEightA[] = {{kEightCrossed, kClosed}},
                 kEightB[] = {{kEightTop, kClosed}, {kEightBottom, kClosed}};
constexpr Stroke kNineA[] = {{kNineStraight}}, kNineB[] = {{kNineCurved}};

constexpr Glyph kZero[] = {kZeroA, kZeroB}, kOne[] = {kOneA, kOneB, kOneC};
constexpr Glyph kTwo[] = {kTwoA, kTwoB}, kThree[] = {kThreeA, kThreeB};
constexpr Glyph kFour[] = {kFourA, kFourB}, kFive[] = {kFiveA, kFiveB};
constexpr Glyph kSix[] = {kSixA, kSixB}, kSevens[] = {kSevenA, kSevenB, kSevenC};
constexpr Glyph kEight[] = {kEightA, kEightB}, kNine[] = {kNineA, kNineB};

constexpr std::span<const Glyph> kDigits[] = {kZero, kOne, kTwo,    kThree, kFour,
                                              kFive, kSix, kSevens, kEight, kNine};

}  // namespace

Glyph glyph(int digit, double hand) {
  require(digit >= 0 && digit <= 9, "digit {} is outside 0 to 9", digit);
  const auto ways = kDigits[digit];
  const auto way =
      static_cast<size_t>(std::clamp(hand, 0.0, 1.0) * static_cast<double>(ways.size()));
  return ways[std::min(way, ways.size() - 1)];
}

}  // namespace diffscm::data
