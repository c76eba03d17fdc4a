#include "attribute-table.h"

#include "ns3/boolean.h"
#include "ns3/config.h"
#include "ns3/data-rate.h"
#include "ns3/double.h"
#include "ns3/integer.h"
#include "ns3/nstime.h"
#include "ns3/object-factory.h"
#include "ns3/queue-size.h"
#include "ns3/string.h"
#include "ns3/type-id.h"
#include "ns3/uinteger.h"

#include <sstream>
#include <stdexcept>

namespace collapipe
{

using namespace ns3;

namespace
{

TypeId
FindType(const std::string& name)
{
    TypeId tid;
    if (!TypeId::LookupByNameFailSafe(name, &tid))
    {
        throw std::invalid_argument("no type " + name);
    }
    return tid;
}

/// The attribute and the type that declares it, searched as in ns-3: in the type, then in its
/// ancestors. TypeId's own lookup can't be used, as it ends the process at an obsolete attribute.
std::pair<TypeId, TypeId::AttributeInformation>
FindAttribute(const std::string& type, const std::string& name)
{
    for (TypeId tid = FindType(type);; tid = tid.GetParent())
    {
        for (std::size_t i = 0; i < tid.GetAttributeN(); ++i)
        {
            const auto information = tid.GetAttribute(i);
            if (information.name == name && information.supportLevel != TypeId::SupportLevel::OBSOLETE)
            {
                return {tid, information};
            }
        }
        if (!tid.HasParent() || tid.GetParent() == tid)
        {
            throw std::invalid_argument(type + " has no attribute " + name);
        }
    }
}

/// The ancestor directly below ns3::Object, which a family of types (TcpCongestionOps …) has in
/// common.
TypeId
FamilyOf(TypeId tid)
{
    while (tid.HasParent() && tid.GetParent() != tid && tid.GetParent() != Object::GetTypeId())
    {
        tid = tid.GetParent();
    }
    return tid;
}

/// The types that can be used instead of `initial`, separated by bars.
std::string
TypesLike(const std::string& initial)
{
    TypeId like;
    std::string choices;
    if (!TypeId::LookupByNameFailSafe(initial, &like))
    {
        return choices;
    }
    for (uint16_t i = 0; i < TypeId::GetRegisteredN(); ++i)
    {
        const auto tid = TypeId::GetRegistered(i);
        if (tid.HasConstructor() && FamilyOf(tid) == FamilyOf(like))
        {
            choices += (choices.empty() ? "" : "|") + tid.GetName();
        }
    }
    return choices;
}

std::string
Expected(const TypeId::AttributeInformation& information)
{
    if (information.checker->GetValueTypeName() == "ns3::TypeIdValue")
    {
        return TypesLike(information.initialValue->SerializeToString(information.checker));
    }
    return information.checker->HasUnderlyingTypeInformation()
               ? information.checker->GetUnderlyingTypeInformation()
               : "";
}

/// The value of a text, whose form has been checked before.
Ptr<AttributeValue>
ValueOf(const AttributeChecker& checker, const std::string& text)
{
    const auto kind = checker.GetValueTypeName();
    if (kind == "ns3::UintegerValue")
    {
        return Create<UintegerValue>(std::stoull(text));
    }
    if (kind == "ns3::IntegerValue")
    {
        return Create<IntegerValue>(std::stoll(text));
    }
    if (kind == "ns3::DoubleValue")
    {
        return Create<DoubleValue>(std::strtod(text.c_str(), nullptr));
    }
    if (kind == "ns3::BooleanValue")
    {
        return Create<BooleanValue>(text == "1");
    }
    if (kind == "ns3::TimeValue")
    {
        return Create<TimeValue>(NanoSeconds(std::stoll(text)));
    }
    if (kind == "ns3::DataRateValue")
    {
        return Create<DataRateValue>(DataRate(std::stoull(text)));
    }
    return Create<StringValue>(text); // enumerations, types, queue sizes: ns-3 parses them itself
}

Ptr<AttributeValue>
CheckedValueOf(const TypeId::AttributeInformation& information, const std::string& text)
{
    const auto value = information.checker->CreateValidValue(*ValueOf(*information.checker, text));
    if (!value)
    {
        throw std::invalid_argument(information.name + " doesn't take " + text);
    }
    return value;
}

} // namespace

std::string
TypeNames()
{
    std::string names;
    for (uint16_t i = 0; i < TypeId::GetRegisteredN(); ++i)
    {
        names += TypeId::GetRegistered(i).GetName() + "\n";
    }
    return names;
}

std::string
DescribeAttributes(const std::string& type)
{
    std::ostringstream lines;
    for (TypeId tid = FindType(type);; tid = tid.GetParent())
    {
        for (std::size_t i = 0; i < tid.GetAttributeN(); ++i)
        {
            const auto information = tid.GetAttribute(i);
            if (information.supportLevel == TypeId::SupportLevel::OBSOLETE)
            {
                continue;
            }
            const bool settable = information.accessor->HasSetter();
            lines << information.name << '\t' << tid.GetName() << '\t'
                  << information.checker->GetValueTypeName() << '\t' << Expected(information)
                  << '\t' << (settable && (information.flags & TypeId::ATTR_CONSTRUCT) ? "construct " : "")
                  << (settable && (information.flags & TypeId::ATTR_SET) ? "set" : "") << '\n';
        }
        if (!tid.HasParent() || tid.GetParent() == tid)
        {
            return lines.str();
        }
    }
}

bool
Fits(const std::string& type, const std::string& attribute, const std::string& value)
{
    const auto information = FindAttribute(type, attribute).second;
    const auto candidate = ValueOf(*information.checker, value);
    return information.checker->CreateValidValue(*candidate) != nullptr;
}

void
SetDefault(const std::string& type, const std::string& attribute, const std::string& value)
{
    const auto [declaring, information] = FindAttribute(type, attribute);
    Config::SetDefault(declaring.GetName() + "::" + attribute, *CheckedValueOf(information, value));
}

bool
IsCreatable(const std::string& type)
{
    const auto tid = FindType(type);
    return tid.HasConstructor() && tid.IsChildOf(Object::GetTypeId());
}

std::vector<std::pair<std::string, Ptr<AttributeValue>>>
CheckedValues(const std::string& type, const std::string& attributes)
{
    std::vector<std::pair<std::string, Ptr<AttributeValue>>> values;
    std::istringstream lines(attributes);
    for (std::string line; std::getline(lines, line);)
    {
        const auto name = line.substr(0, line.find('='));
        const auto information = FindAttribute(type, name).second;
        values.emplace_back(name, CheckedValueOf(information, line.substr(name.size() + 1)));
    }
    return values;
}

Ptr<Object>
Make(const std::string& type, const std::string& attributes)
{
    if (!IsCreatable(type))
    {
        throw std::invalid_argument(type + " can't be made by name");
    }
    ObjectFactory factory(type);
    for (const auto& [name, value] : CheckedValues(type, attributes))
    {
        factory.Set(name, *value);
    }
    return factory.Create();
}

} // namespace collapipe
