import FoundationEssentials
import Wire
import Yams

/// All that is wrong with a configuration; every problem at once, so that it is mended in one go.
package struct ConfigurationError: Error, Equatable, CustomStringConvertible {
    package struct Problem: Equatable, Sendable, CustomStringConvertible {
        /// `weir.yaml:12`, or `environment`.
        package var place: String
        /// `media.port`, or `WEIR_MEDIA_PORT`; empty: the file as a whole.
        package var key: String
        /// What is wrong, with the value as it was written.
        package var problem: String
        package var remedy: String

        package var description: String {
            "\(place): " + (key.isEmpty ? "" : "\(key): ") + "\(problem); \(remedy)"
        }
    }

    package var problems: [Problem]
    package var description: String { problems.map(\.description).joined(separator: "\n") }
}

/// Reads a file of YAML, lays the environment over it and checks the whole.
package struct ConfigurationLoader {
    private var configuration = Configuration()
    private var problems: [ConfigurationError.Problem] = []
    /// Where each key was set, for errors that concern two keys.
    private var places: [String: String] = [:]

    /// Default places of the file, when neither `--config` nor `WEIR_CONFIG` names one.
    package static let standardPath = "/etc/weir/weir.yaml"
    /// A configuration is some kilobytes; more is another file.
    private static let maxFileSize = 1 << 20

    private init() {}

    /// - Parameters:
    ///   - path: the file; `nil`: the file of `WEIR_CONFIG`, else `/etc/weir/weir.yaml` if there is one, else none.
    /// - Throws: every problem found.
    package static func load(path: String?, environment: [String: String]) throws(ConfigurationError) -> Configuration {
        let named = path ?? environment["WEIR_CONFIG"].flatMap { $0.isEmpty ? nil : $0 }
        let file = named ?? (FileManager.default.fileExists(atPath: standardPath) ? standardPath : nil)
        guard let file else { return try parse(yaml: nil, file: "", environment: environment) }
        func refuse(_ problem: String, _ remedy: String) -> ConfigurationError {
            ConfigurationError(problems: [.init(place: file, key: "", problem: problem, remedy: remedy)])
        }
        let data: Data
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: file))
        } catch {
            let reason = FileManager.default.fileExists(atPath: file) ? "cannot be read" : "there is no such file"
            throw refuse(reason, "check the path and its permissions, or leave --config out to use the defaults")
        }
        guard data.count <= maxFileSize, let text = String(validating: data, as: UTF8.self) else {
            throw refuse("is not a configuration (UTF-8 text of at most \(sizeText(maxFileSize)))", "check the path")
        }
        return try parse(yaml: text, file: file, environment: environment)
    }

    /// - Parameter file: what errors call the text.
    package static func parse(
        yaml: String?, file: String, environment: [String: String]
    ) throws(ConfigurationError) -> Configuration {
        var loader = ConfigurationLoader()
        if let yaml { loader.read(yaml: yaml, file: file) }
        loader.read(environment: environment)
        if loader.problems.isEmpty { loader.checkTogether() }
        guard loader.problems.isEmpty else { throw ConfigurationError(problems: loader.problems) }
        return loader.configuration
    }

    // MARK: - File

    private mutating func read(yaml: String, file: String) {
        let root: Node?
        do {
            root = try Yams.compose(yaml: yaml)
        } catch {
            problems.append(Self.problem(of: error, yaml: yaml, file: file))
            return
        }
        guard let root, root.null == nil else { return }
        guard case .mapping(let sections, _) = ConfigurationValue(root, line: 1) else {
            report(
                "\(file):1", "", "the file is not a list of sections",
                "write sections such as \"media:\" with indented keys below")
            return
        }
        // Marks of keys, which a value's own mark does not give when the value is a block below its key.
        let marks = Dictionary(
            (root.mapping?.map { ($0.key.scalar?.string ?? "?", $0) } ?? []), uniquingKeysWith: { a, _ in a })
        for (section, value) in sections {
            let line = marks[section]?.key.mark?.line ?? value.line
            if section == ApplicationForm.section {
                readApplications(value, marks[section]?.value.mapping, file: file, line: line)
                continue
            }
            guard ConfigurationKey.sections.contains(section) else {
                report(
                    "\(file):\(line)", section, "there is no such section",
                    Self.hint(section, ConfigurationKey.sections + [ApplicationForm.section]))
                continue
            }
            switch value {
            case .missing: continue
            case .mapping(let pairs, _):
                let keyLines = Dictionary(
                    marks[section]?.value.mapping?.map { ($0.key.scalar?.string ?? "?", $0.key.mark?.line ?? line) }
                        ?? [],
                    uniquingKeysWith: { a, _ in a })
                for (name, value) in pairs {
                    set(section, name, value, file: file, line: keyLines[name] ?? value.line)
                }
            case .scalar, .list:
                report(
                    "\(file):\(line)", section, "\(value.text) is not a section",
                    "write its keys below it, indented by two spaces")
            }
        }
    }

    private mutating func readApplications(
        _ value: ConfigurationValue, _ node: Node.Mapping?, file: String, line: Int
    ) {
        switch value {
        case .missing: return
        case .mapping(let pairs, _):
            let lines = Dictionary(
                node?.map { ($0.key.scalar?.string ?? "?", $0.key.mark?.line ?? line) } ?? [],
                uniquingKeysWith: { a, _ in a })
            for (key, value) in pairs {
                do throws(BadValue) {
                    configuration.applications.append(try ApplicationForm.read(key, value))
                } catch {
                    report(
                        "\(file):\(error.line ?? lines[key] ?? line)", "\(ApplicationForm.section).\(key)",
                        "\(error.value ?? value.text) \(error.problem)", error.remedy)
                }
            }
        case .scalar, .list:
            report(
                "\(file):\(line)", ApplicationForm.section, "\(value.text) is not a map of applications",
                "write application keys below it, indented by two spaces, each with its url")
        }
    }

    private mutating func set(_ section: String, _ name: String, _ value: ConfigurationValue, file: String, line: Int) {
        let path = "\(section).\(name)"
        guard let key = ConfigurationKey.find(section: section, name: name) else {
            let names = ConfigurationKey.all.filter { $0.section == section }.map(\.name)
            // A key in the wrong section is as common as a key misspelt.
            let elsewhere = ConfigurationKey.all.first { $0.name == name && nearest(to: name, of: names) == nil }
            let remedy = elsewhere.map { "did you mean \($0.path)?" } ?? Self.hint(name, names)
            report("\(file):\(line)", path, "there is no such key", remedy)
            return
        }
        do {
            try key.set(&configuration, value)
            places[path] = "\(file):\(line)"
        } catch {
            report(
                "\(file):\(error.line ?? line)", path, "\(error.value ?? value.text) \(error.problem)", error.remedy)
        }
    }

    private static func problem(of error: any Error, yaml: String, file: String) -> ConfigurationError.Problem {
        switch error as? YamlError {
        case .duplicatedKeysInMapping(let duplicates, let context)?:
            let name = duplicates.first ?? "?"
            let line = secondLine(of: name, in: yaml, after: context.mark.line) ?? context.mark.line
            return .init(
                place: "\(file):\(line)", key: name, problem: "the key is there twice in its section",
                remedy: "remove one of the two")
        case .scanner(_, let problem, let mark, _)?, .parser(_, let problem, let mark, _)?,
            .composer(_, let problem, let mark, _)?:
            return .init(
                place: "\(file):\(mark.line)", key: "", problem: "not YAML: \(problem), column \(mark.column)",
                remedy: "check indentation (spaces, no tabs), colons and quotes there")
        default:
            return .init(place: file, key: "", problem: "not YAML: \(error)", remedy: "check the file")
        }
    }

    /// Yams gives the place of one of the two keys: the other is the next line that begins with it at the same depth.
    private static func secondLine(of key: String, in yaml: String, after first: Int) -> Int? {
        let lines = yaml.split(separator: "\n", omittingEmptySubsequences: false)
        guard first >= 1, first <= lines.count else { return nil }
        let indentation = lines[first - 1].prefix { $0 == " " }
        let found = lines.indices.filter { lines[$0].hasPrefix("\(indentation)\(key):") }.map { $0 + 1 }
        return found.first { $0 > first } ?? found.last
    }

    // MARK: - Environment

    private mutating func read(environment: [String: String]) {
        for key in ConfigurationKey.all {
            guard let text = environment[key.environmentVariable] else { continue }
            let value = ConfigurationValue(environment: text)
            do {
                try key.set(&configuration, value)
                places[key.path] = "environment (\(key.environmentVariable))"
            } catch {
                report(
                    "environment", key.environmentVariable, "\(error.value ?? value.text) \(error.problem)",
                    error.remedy)
            }
        }
        // Only variables that begin like one of ours: others may belong to tools around us (WEIR_TEST_…).
        let known = Set(ConfigurationKey.all.map(\.environmentVariable))
        for name in environment.keys.sorted() where !known.contains(name) {
            let isOurs = ConfigurationKey.sections.contains {
                name.hasPrefix("\(ConfigurationKey.prefix)\($0.uppercased())_")
            }
            if isOurs { report("environment", name, "there is no such key", Self.hint(name, Array(known).sorted())) }
        }
    }

    // MARK: - Checks of several keys

    private mutating func checkTogether() {
        checkPorts()
        checkTokens()
        checkRTSP()
        let tls = configuration.tls
        if tls.certificate.isEmpty != tls.key.isEmpty {
            let (set, missing) = tls.key.isEmpty ? ("tls.certificate", "tls.key") : ("tls.key", "tls.certificate")
            report(place(set), set, "is set without \(missing)", "set both, or none for a development certificate")
        }
        if !configuration.http.adminClientCa.isEmpty, configuration.http.tlsPort == 0 {
            report(
                place("http.admin_client_ca"), "http.admin_client_ca", "needs TLS, which is off",
                "set http.tls_port, or remove it")
        }
        if configuration.media.dtlsCertificate.isEmpty, !configuration.media.dtlsKey.isEmpty {
            report(
                place("media.dtls_key"), "media.dtls_key", "is set without media.dtls_certificate",
                "set both, or none for a new certificate at each start")
        }
        for address in configuration.media.announce where address.isUnspecified {
            report(
                place("media.announce"), "media.announce",
                "\"\(address.ip)\" is not an address that a peer could reach",
                "give the addresses that players use, or [] for those of the interfaces")
        }
        if configuration.limits.connectionsPerAddress > configuration.limits.connections,
            places["limits.connections_per_address"] != nil
        {
            report(
                place("limits.connections_per_address"), "limits.connections_per_address",
                "\(configuration.limits.connectionsPerAddress) is more than limits.connections "
                    + "(\(configuration.limits.connections))", "lower it, or raise limits.connections")
        }
        if configuration.log.burst < configuration.log.rate, places["log.burst"] != nil {
            report(
                place("log.burst"), "log.burst",
                "\(configuration.log.burst) is less than log.rate "
                    + "(\(configuration.log.rate)), which could then never be reached", "raise it, or lower log.rate")
        }
    }

    /// Rules of tokens without a key to check any would look like protection and be none.
    private mutating func checkTokens() {
        guard !configuration.tokens.settings.isEnabled else { return }
        for key in ConfigurationKey.all where key.section == "tokens" && key.write(configuration) != key.write(.init())
        {
            report(
                place(key.path), key.path, "has no effect: without a key nobody needs a token",
                "set tokens.hs256_secrets or tokens.jwks_file, or remove it")
        }
    }

    private mutating func checkRTSP() {
        let rtsp = configuration.rtsp
        if rtsp.login != .none, rtsp.users.isEmpty {
            report(
                place("rtsp.login"), "rtsp.login", "nobody could log in: there are no users",
                "set rtsp.users, or rtsp.login to none")
        }
    }

    /// Two TCP listeners of one number collide when their addresses overlap.
    private mutating func checkPorts() {
        let c = configuration
        var listeners: [(key: String, port: UInt16, addresses: [SocketAddress])] = [
            ("websocket.port", c.websocket.port, [c.websocket.listen]),
            ("websocket.tls_port", c.websocket.tlsPort, [c.websocket.listen]),
            ("http.port", c.http.port, [c.http.listen]),
            ("http.tls_port", c.http.tlsPort, [c.http.listen]),
        ]
        if c.rtsp.enabled {
            listeners += c.rtsp.listeners.map { ("rtsp.listeners", $0.port, [$0]) }
            listeners += c.rtsp.tlsListeners.map { ("rtsp.tls_listeners", $0.port, [$0]) }
        }
        if c.media.tcp { listeners.append(("media.port", c.media.port, c.media.listen)) }
        for (i, one) in listeners.enumerated() where one.port != 0 {
            for other in listeners[(i + 1)...] where other.port == one.port {
                let overlap = one.addresses.contains { a in
                    other.addresses.contains { $0.isUnspecified || a.isUnspecified || $0.hasSameIP(as: a) }
                }
                guard overlap else { continue }
                // Named by the key that the operator set, not by the default it collides with.
                let (culprit, victim) = places[other.key] != nil ? (other.key, one.key) : (one.key, other.key)
                report(
                    place(culprit), culprit, "\(one.port) is the port of \(victim) too",
                    "give each listener a port of its own")
            }
        }
    }

    // MARK: - Words

    private func place(_ path: String) -> String { places[path] ?? "default" }

    private mutating func report(_ place: String, _ key: String, _ problem: String, _ remedy: String) {
        problems.append(.init(place: place, key: key, problem: problem, remedy: remedy))
    }

    private static func hint(_ word: String, _ known: [String]) -> String {
        if let near = nearest(to: word, of: known) { return "did you mean \(near)?" }
        return known.count <= 25
            ? "known are \(known.joined(separator: ", "))" : "see Config/weir.yaml for every key"
    }
}
