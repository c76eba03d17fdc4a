#ifndef COLLAPIPE_BYTE_RANGE_H
#define COLLAPIPE_BYTE_RANGE_H

#include <cstdint>
#include <vector>

namespace collapipe
{

/// A half-open range of bytes, laid out for Python to unpack.
struct ByteRange
{
    uint64_t begin;
    uint64_t end;

    uint64_t Size() const
    {
        return end - begin;
    }
};

/// Appends a range; merges it with the last one if they touch.
inline void
Append(std::vector<ByteRange>& ranges, ByteRange more)
{
    if (!ranges.empty() && ranges.back().end == more.begin)
    {
        ranges.back().end = more.end;
    }
    else
    {
        ranges.push_back(more);
    }
}

} // namespace collapipe

#endif
