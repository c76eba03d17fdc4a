#ifndef COLLAPIPE_ATTRIBUTE_TABLE_H
#define COLLAPIPE_ATTRIBUTE_TABLE_H

#include "ns3/object.h"
#include "ns3/ptr.h"

#include <string>
#include <utility>
#include <vector>

/// ns-3's attributes as plain text, so that everything a user names can be checked first.
///
/// Plain text because of what it saves: cppyy compiles a wrapper for every distinct class and
/// method that Python touches, and ns-3's checkers are a class each. A value is written as
/// ns3_scenarios.runtime.attributes leaves it (integers and floats in C's notation, times in
/// nanoseconds, data rates in bit/s, booleans as 0 or 1). A call about a name that doesn't exist
/// throws std::invalid_argument; none of them reaches an NS_FATAL_ERROR.
namespace collapipe
{

/// Every registered type's name, one a line.
std::string TypeNames();

/// One attribute a line, inherited ones too: name, declaring type, kind of value, range or
/// choices, and which of "construct" and "set" it allows, separated by tabs.
std::string DescribeAttributes(const std::string& type);

/// Whether the attribute's own checker takes the value.
bool Fits(const std::string& type, const std::string& attribute, const std::string& value);

/// Config::SetDefault; the attribute must be declared by the very type.
void SetDefault(const std::string& type, const std::string& attribute, const std::string& value);

/// Whether the type can be made by name alone.
bool IsCreatable(const std::string& type);

/// The values that a text with one "name=value" a line stands for.
std::vector<std::pair<std::string, ns3::Ptr<ns3::AttributeValue>>> CheckedValues(
    const std::string& type,
    const std::string& attributes);

/// Makes an object; `attributes` holds one "name=value" a line.
ns3::Ptr<ns3::Object> Make(const std::string& type, const std::string& attributes);

} // namespace collapipe

#endif
