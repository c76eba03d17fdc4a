#ifndef COLLAPIPE_PLACE_FIELD_H
#define COLLAPIPE_PLACE_FIELD_H

#include "ns3/vector.h"

#include <cstdint>
#include <string>
#include <vector>

namespace collapipe
{

/// A random value for every pair of positions in the plane, standard normal and spatially
/// consistent.
///
/// If either end moves by Δ, the correlation is exp(-|Δ| / d): for one end Gudmundson's law
/// (Correlation model for shadow fading in mobile radio systems, Electronics Letters 1991; TR
/// 38.901, 7.4.4), for two the product of both (Wang, Tameh, Nix: Joint shadowing process in urban
/// peer-to-peer radio channels, IEEE Trans. Vehicular Technology 2008). It is a sum of plane waves
/// whose lengths and directions are drawn from the spectrum of this correlation (Cai, Giannakis: A
/// two-dimensional channel simulation model for shadowing processes, IEEE Trans. Vehicular
/// Technology 2003), and so a function of the two positions alone, which doesn't depend on the path
/// to them.
class PlaceField
{
  public:
    /// The field with this name in one of ns-3's runs.
    PlaceField(const std::string& name, uint64_t run);

    /// The value between two positions for this correlation distance (m).
    double At(const ns3::Vector& a, const ns3::Vector& b, double distance) const;

  private:
    struct Wave
    {
        double ax; // wave numbers of one end, in units of 1 / distance
        double ay;
        double bx; // wave numbers of the other end
        double by;
        double phase;
    };

    std::vector<Wave> m_waves;
};

} // namespace collapipe

#endif
