// Realism of a set of images: distances between two sets of features. On the features of this
// project's oracle, so that neither is FID nor KID: numbers are comparable within a data set and an
// oracle only.
#pragma once

#include "evaluation/metrics/images.h"

namespace diffscm {

struct Moments {
  std::vector<double> mean;
  Matrix covariance;  // (n - 1)
};
// Of the rows. Throws Error below two, without columns, and for values that are not finite.
Moments moments(const Matrix& x);

// Squared Frechet distance of the Gaussians with the sets' means and covariances (n - 1):
//   |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2)
// (Dowson & Landau 1982; Heusel et al. 2017). Range [0, inf), lower is better. Biased upwards for
// small sets: compare sets of the same size. Throws Error below two rows or for other columns.
double frechet_distance(const Matrix& a, const Matrix& b);
double frechet_distance(const Matrix& a, const Moments& b);  // whose set is asked about often

// Squared maximum mean discrepancy, unbiased estimate, kernel k(x, y) = (x.y / columns + 1)^3
// (Gretton et al. 2012, eq. 3; the kernel of Binkowski et al. 2018). Lower is better; 0 in the mean
// for equal distributions, so that estimates may be negative. Throws Error below two rows.
double kernel_mmd(const Matrix& a, const Matrix& b);

// The factor that makes the features' root mean square 1: the cubic kernel weighs x.y against 1, so
// it must not depend on the unit of the features. Throws Error when all are 0.
double unit_scale(const Matrix& x);
Matrix scaled(Matrix x, double factor);

// Building blocks, for their tests.
double frechet_distance(const Moments& a, const Moments& b);
// Eigenvalues (ascending is not promised) and eigenvectors (columns) of a symmetric matrix, by
// cyclic Jacobi rotations (Golub & Van Loan, section 8.5).
struct Eigen {
  std::vector<double> values;
  Matrix vectors;
};
Eigen symmetric_eigen(Matrix a);

}  // namespace diffscm
