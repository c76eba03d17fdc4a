#ifndef COLLAPIPE_LINE_FIT_H
#define COLLAPIPE_LINE_FIT_H

#include <cmath>
#include <cstddef>

namespace collapipe
{

/// The straight line of least squares through values at distances of 1, and its slope's error:
/// s.e.² = Σ residual² / (n - 2) / Σ (x - mean x)², if residuals are independent.
struct LineFit
{
    double slope;
    double error; // standard error of the slope

    /// `value(i)` for i from `first` to `end` - 1, at least three.
    template <typename Value>
    static LineFit Through(std::size_t first, std::size_t end, Value value)
    {
        const auto n = static_cast<double>(end - first);
        double sum = 0;
        for (auto i = first; i < end; ++i)
        {
            sum += value(i);
        }
        const auto mean = sum / n;
        const auto middle = (n - 1) / 2;
        const auto spread = n * (n * n - 1) / 12;
        double product = 0;
        double square = 0;
        for (auto i = first; i < end; ++i)
        {
            const auto y = value(i) - mean;
            product += (static_cast<double>(i - first) - middle) * y;
            square += y * y;
        }
        const auto slope = product / spread;
        const auto residual = std::fmax(square - slope * product, 0);
        return {slope, std::sqrt(residual / (n - 2) / spread)};
    }
};

} // namespace collapipe

#endif
