#ifndef COLLAPIPE_LAST_WORDS_H
#define COLLAPIPE_LAST_WORDS_H

#include <string>

namespace collapipe
{

/// What the process reports if ns-3 or a crash ends it. A fatal error of ns-3 can't be recovered
/// from: it calls std::terminate in the middle of the simulation.
struct LastWords
{
    std::string doing;   // what was being done
    std::string heading; // on stderr before the report
    std::string hint;    // on stderr after the report
    int descriptor{-1};  // of a file for the report too, escaped for a JSON string; -1: none
    std::string before;  // on the descriptor before the report
    std::string after;   // on the descriptor after the report
};

/// From now on, if this process (not a copy of it) is ended, it prints this report with the
/// simulated time and the reason, and exits with code 1.
void SetLastWords(const LastWords& words);

/// Undoes SetLastWords().
void ClearLastWords();

} // namespace collapipe

#endif
