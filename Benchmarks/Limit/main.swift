import Glibc

func fail(_ message: String, _ code: Int32) -> Never {
    var line = "weir-limit: \(message)\n"
    // Swift 6 refuses C's `stderr`, a global variable.
    _ = line.withUTF8 { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    exit(code)
}

do throws(UsageError) {
    let options = try Options(Array(CommandLine.arguments.dropFirst()))
    if options.help {
        print(Options.usage)
        exit(0)
    }
    do throws(Failure) {
        let bench = try Bench(options)
        let report = try bench.measure()
        print(options.json ? bench.json(report) : bench.table(report), terminator: "")
        bench.close()
    } catch {
        fail(error.message, EXIT_FAILURE)
    }
} catch {
    fail("\(error.message); see weir-limit --help", EX_USAGE)
}
