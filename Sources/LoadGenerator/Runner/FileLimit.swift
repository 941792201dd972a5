import Glibc

/// How many files and sockets this program may have open.
package enum FileLimit {
    /// Lifts the limit to `needed` if it is lower.
    /// - Throws: `OptionProblem` if the hard limit does not let us.
    package static func raise(to needed: Int) throws(OptionProblem) {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        let wanted = rlim_t(needed)
        guard limit.rlim_cur < wanted else { return }
        limit.rlim_cur = wanted
        if limit.rlim_max < wanted { limit.rlim_max = wanted }
        guard setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            throw OptionProblem(
                option: "--players", why: "this load needs \(needed) open files, more than this program may have",
                remedy: "run \"ulimit -n \(needed)\" first, or give fewer players")
        }
    }
}
