#ifndef COLLAPIPE_BYTE_RANGE_H
#define COLLAPIPE_BYTE_RANGE_H

#include <cstdint>

namespace collapipe
{

/// A half-open range of bytes. Laid out for Python to unpack.
struct ByteRange
{
    uint64_t begin;
    uint64_t end;

    uint64_t Size() const
    {
        return end - begin;
    }
};

} // namespace collapipe

#endif
