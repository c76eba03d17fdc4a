#ifndef COLLAPIPE_LAST_WORDS_H
#define COLLAPIPE_LAST_WORDS_H

#include <string>

namespace collapipe
{

/// What this process says where ns-3 or a crash ends it. A fatal error of ns-3 can't be survived:
/// it ends in std::terminate, amid whatever simulation was going on.
struct LastWords
{
    std::string doing;   // what was being done
    std::string heading; // on standard error before the text
    std::string hint;    // on standard error after it
    int descriptor{-1};  // where the text goes too, as the inside of a JSON string; -1: nowhere
    std::string before;  // on the descriptor before it
    std::string after;   // on the descriptor after it
};

/// From now on an end of this process, not of a copy of it, prints these words with the simulated
/// time and the reason, and is an exit with code 1.
void SetLastWords(const LastWords& words);

/// Ends are again what they were before SetLastWords().
void ClearLastWords();

} // namespace collapipe

#endif
