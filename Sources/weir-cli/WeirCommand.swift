import ArgumentParser
import Glibc
import Weir

@main
struct WeirCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "weir",
        abstract: "Media streaming server: WCS WebSocket, WHIP and WHEP.",
        discussion: """
            Every key of the configuration can be set by an environment variable, too: WEIR_MEDIA_PORT=31001 sets \
            media.port. Config/weir.yaml explains all keys.
            """,
        version: BuildInfo.current.description,
        subcommands: [Serve.self, Examine.self, Bench.self, Mix.self, Version.self, PullSource.self])
}

/// Options of the commands that read the configuration.
struct ConfigurationOptions: ParsableArguments {
    @Option(
        name: .shortAndLong,
        help: "YAML file. Without it: $WEIR_CONFIG, \(ConfigurationLoader.standardPath), or the defaults.",
        completion: .file(extensions: ["yaml", "yml"]))
    var config: String?

    @Option(help: "trace, debug, info, notice, warning, error or critical; instead of log.level.")
    var logLevel: String?

    /// Prints every problem and ends with status 78 (EX_CONFIG), which the service takes as "do not start me again".
    func load() throws -> Configuration {
        do {
            return try Self.read(config: config, logLevel: logLevel)
        } catch let error as ConfigurationError {
            printError(error.description)
            throw ExitCode(EX_CONFIG)
        }
    }

    /// Reads the same files and options as `load` did, as often as it is called.
    var reread: @Sendable () throws -> Configuration {
        { [config, logLevel] in try Self.read(config: config, logLevel: logLevel) }
    }

    private static func read(config: String?, logLevel: String?) throws -> Configuration {
        var configuration = try ConfigurationLoader.load(path: config, environment: processEnvironment())
        if let logLevel {
            guard let level = LogLevel(name: logLevel.lowercased()) else {
                let names = LogLevel.allCases.map(\.name).joined(separator: ", ")
                throw ValidationError("--log-level: \"\(logLevel)\" is not known; give one of \(names)")
            }
            configuration.log.level = level
        }
        return configuration
    }
}

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Run the server until SIGTERM or SIGINT.")

    @OptionGroup var options: ConfigurationOptions

    @Flag(help: "Check the configuration, say whether it is good, and end.")
    var check = false

    func run() async throws {
        let configuration = try options.load()
        if check {
            print("The configuration is good.")
            return
        }
        let sink = LogSink(configuration.log)
        sink.bootstrap()
        let logger = sink.makeLogger()
        logger.notice(
            "Weir starts",
            metadata: ["version": .string(BuildInfo.current.version), "commit": .string(BuildInfo.current.commit)])
        do {
            try await Server(configuration: configuration, log: sink, reread: options.reread).run()
        } catch {
            logger.critical("Weir cannot go on", metadata: ["error": .string("\(error)")])
            sink.reportSuppressed()
            throw ExitCode.failure
        }
        logger.notice("Weir ended")
        sink.reportSuppressed()
    }
}

struct Examine: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Look at ports, certificate, addresses, processor and limits, and say what to change.",
        discussion:
            "Ends with status 1 if something must be changed before Weir can serve, 78 if the configuration is bad.")

    @OptionGroup var options: ConfigurationOptions

    func run() async throws {
        let configuration = try options.load()
        let environment = processEnvironment()
        var doctor = Doctor(
            configuration, stateDirectory: StateDirectory.path(configuration.state.dir, environment: environment))
        let findings = doctor.examine()
        for finding in findings { print(finding.line) }
        let errors = findings.count { $0.severity == .error }
        let warnings = findings.count { $0.severity == .warning }
        print("\(findings.count) checks, \(errors) errors, \(warnings) warnings")
        throw ExitCode(Doctor.exitCode(findings))
    }
}

struct Version: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print version and commit.")

    func run() { print(BuildInfo.current.description) }
}

func printError(_ text: String, end: String = "\n") {
    let line = Array("\(text)\(end)".utf8)
    _ = line.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
