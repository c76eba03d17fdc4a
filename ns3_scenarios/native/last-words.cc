#include "last-words.h"

#include "ns3/simulator.h"

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <memory>
#include <streambuf>
#include <string_view>
#include <unistd.h>

namespace collapipe
{

namespace
{

/// Forwards what is written to a stream, and keeps the end of it.
class Tee : public std::streambuf
{
  public:
    explicit Tee(std::streambuf* sink)
        : m_sink(sink)
    {
    }

    std::streambuf* Sink() const
    {
        return m_sink;
    }

    const std::string& Kept() const
    {
        return m_kept;
    }

  protected:
    int_type overflow(int_type c) override
    {
        if (!traits_type::eq_int_type(c, traits_type::eof()))
        {
            const char letter = traits_type::to_char_type(c);
            xsputn(&letter, 1);
        }
        return traits_type::not_eof(c);
    }

    std::streamsize xsputn(const char* text, std::streamsize count) override
    {
        m_kept.append(text, count);
        if (m_kept.size() > 2 * MOST)
        {
            m_kept.erase(0, m_kept.size() - MOST);
        }
        return m_sink->sputn(text, count);
    }

    int sync() override
    {
        return m_sink->pubsync();
    }

  private:
    static constexpr std::size_t MOST = 4096;

    std::streambuf* m_sink;
    std::string m_kept;
};

constexpr std::array DEADLY{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP};

/// The state while a report is set, one for the process.
struct Watch
{
    LastWords words;
    pid_t process;
    Tee errors;
    std::terminate_handler before;
    std::array<struct sigaction, DEADLY.size()> handlers;
};

std::unique_ptr<Watch> g_watch;

/// A stack for the signal handler, as the thread's own may have overflowed.
std::array<char, 1 << 16> g_stack;

void
Write(int descriptor, std::string_view text)
{
    while (!text.empty())
    {
        const auto written = write(descriptor, text.data(), text.size());
        if (written <= 0)
        {
            return;
        }
        text.remove_prefix(written);
    }
}

std::string
Escaped(std::string_view text)
{
    std::string escaped;
    for (const char letter : text)
    {
        if (letter == '"' || letter == '\\')
        {
            (escaped += '\\') += letter;
        }
        else if (static_cast<unsigned char>(letter) < 0x20)
        {
            std::array<char, 8> code;
            std::snprintf(code.data(), code.size(), "\\u%04x", letter);
            escaped += code.data();
        }
        else
        {
            escaped += letter;
        }
    }
    return escaped;
}

/// The text in quotes after the last `key=`, empty if there is none.
std::string
Quoted(const std::string& text, const std::string& key)
{
    const auto at = text.rfind(key + "=\"");
    if (at == std::string::npos)
    {
        return "";
    }
    const auto begin = at + key.size() + 2;
    return text.substr(begin, text.find('"', begin) - begin);
}

/// Why ns-3 ended the process: its message or its condition, else `otherwise`.
std::string
Reason(const std::string& otherwise)
{
    const auto& said = g_watch->errors.Kept();
    if (const auto message = Quoted(said, "msg"); !message.empty())
    {
        return "ns-3 ends the process: " + message;
    }
    if (const auto condition = Quoted(said, "cond"); !condition.empty())
    {
        return "ns-3 ends the process: it requires " + condition;
    }
    return otherwise;
}

[[noreturn]] void
Say(const std::string& reason)
{
    const auto& words = g_watch->words;
    std::array<char, 64> time;
    std::snprintf(time.data(),
                  time.size(),
                  ", simulated time %.9f s: ",
                  ns3::Simulator::Now().GetNanoSeconds() * 1e-9);
    const auto text = words.doing + time.data() + reason;
    Write(STDERR_FILENO, words.heading + text + "\n" + words.hint);
    if (words.descriptor >= 0)
    {
        Write(words.descriptor, words.before + Escaped(text) + words.after);
    }
    _exit(1);
}

/// Whether this is a copy of the process that set the report; the original reports the copy's end.
bool
IsCopy()
{
    return !g_watch || g_watch->process != getpid();
}

void
OnTerminate()
{
    if (IsCopy())
    {
        std::abort();
    }
    if (const auto current = std::current_exception())
    {
        try
        {
            std::rethrow_exception(current);
        }
        catch (const std::exception& error)
        {
            Say(std::string("an exception that nothing handles: ") + error.what());
        }
        catch (...)
        {
        }
    }
    Say(Reason("ns-3 ends the process"));
}

/// Not everything here is safe in a signal handler. The handler is reset to the default first, so
/// that the worst case is the end that the process would have had anyway.
void
OnSignal(int number)
{
    if (IsCopy())
    {
        raise(number);
        return;
    }
    Say(Reason(std::string("the process crashed: ") + strsignal(number)));
}

} // namespace

void
SetLastWords(const LastWords& words)
{
    ClearLastWords();
    g_watch.reset(new Watch{words, getpid(), Tee(std::cerr.rdbuf()), std::get_terminate(), {}});
    std::cerr.rdbuf(&g_watch->errors);
    std::set_terminate(OnTerminate);
    stack_t stack{};
    stack.ss_sp = g_stack.data();
    stack.ss_size = g_stack.size();
    sigaltstack(&stack, nullptr);
    struct sigaction ours{};
    ours.sa_handler = OnSignal;
    ours.sa_flags = SA_RESETHAND | SA_NODEFER | SA_ONSTACK;
    for (std::size_t i = 0; i < DEADLY.size(); ++i)
    {
        sigaction(DEADLY[i], &ours, &g_watch->handlers[i]);
    }
}

void
ClearLastWords()
{
    if (!g_watch)
    {
        return;
    }
    for (std::size_t i = 0; i < DEADLY.size(); ++i)
    {
        sigaction(DEADLY[i], &g_watch->handlers[i], nullptr);
    }
    std::set_terminate(g_watch->before);
    std::cerr.rdbuf(g_watch->errors.Sink());
    g_watch.reset();
}

} // namespace collapipe
