// What the floors are made of: one core that only reads memory, as our kernels ask for it.
#include "ahead.h"

// Both halves of so many bytes side by side; they are a multiple of two cache lines.
extern "C" void read_memory(const char* from, size_t bytes) {
    for (size_t i = 0; i < bytes / 2; i += pie::CACHE_LINE) {
        pie::read_line(from + i);
        pie::read_line(from + bytes / 2 + i);
    }
}
