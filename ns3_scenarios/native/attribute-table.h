#ifndef COLLAPIPE_ATTRIBUTE_TABLE_H
#define COLLAPIPE_ATTRIBUTE_TABLE_H

#include "ns3/object.h"
#include "ns3/ptr.h"

#include <string>
#include <utility>
#include <vector>

/// ns-3's attributes as plain text, so that everything a user names can be checked first.
///
/// Text is used because cppyy compiles a wrapper for every class and method that Python uses, and
/// each of ns-3's checkers is a class. Values are written as ns3_scenarios.runtime.attributes
/// returns them (integers and floats in C's notation, times in nanoseconds, data rates in bit/s,
/// booleans as 0 or 1). A name that doesn't exist throws std::invalid_argument; no call ends in
/// NS_FATAL_ERROR.
namespace collapipe
{

/// The names of all registered types, one per line.
std::string TypeNames();

/// The attributes of a type, inherited ones included, one per line: name, declaring type, kind of
/// value, range or choices, and which of "construct" and "set" it allows, separated by tabs.
std::string DescribeAttributes(const std::string& type);

/// Whether the attribute's own checker accepts the value.
bool Fits(const std::string& type, const std::string& attribute, const std::string& value);

/// Config::SetDefault; the type must be the one that declares the attribute.
void SetDefault(const std::string& type, const std::string& attribute, const std::string& value);

/// Whether an object of the type can be made by the type's name alone.
bool IsCreatable(const std::string& type);

/// The values in a text with one "name=value" per line.
std::vector<std::pair<std::string, ns3::Ptr<ns3::AttributeValue>>> CheckedValues(
    const std::string& type,
    const std::string& attributes);

/// Makes an object; `attributes` has one "name=value" per line.
ns3::Ptr<ns3::Object> Make(const std::string& type, const std::string& attributes);

} // namespace collapipe

#endif
