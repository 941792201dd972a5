import ControlPlane
import RTSP
import RTSPPull
import Wire

extension Configuration {
    /// Streams that are pulled from cameras and other RTSP servers: docs/rtsp.md.
    package struct Pull: Sendable, Equatable {
        package enum Transport: String, CaseIterable, Sendable {
            case tcp
            case udp
            case udpThenTCP = "udp_then_tcp"
        }

        /// A stream that is pulled under a name of its own.
        package struct Source: Sendable, Equatable {
            package enum Mode: String, CaseIterable, Sendable {
                /// While somebody plays it.
                case onDemand = "on_demand"
                case always
            }

            package var name: String
            package var url: String
            package var mode: Mode

            package init(name: String, url: String, mode: Mode = .onDemand) {
                self.name = name
                self.url = url
                self.mode = mode
            }
        }

        /// false: URLs are refused as names of streams, and there are no `sources`.
        package var enabled = true
        package var transport = Transport.tcp
        /// Schemes of URLs that may be named as streams; those of `sources` may be any.
        package var schemes = ["rtsp", "rtsps"]
        /// Under which files may be pulled; empty: none.
        package var fileFolder = ""
        /// Processes for sources that are not RTSP's, at a time.
        package var maxProcesses = 32
        /// Bytes of address space of each.
        package var processMemory = 1 << 30
        /// Hosts that may be pulled, `*.example.com` too; empty: all.
        package var hosts: [String] = []
        /// Networks that may be pulled although their addresses are not public.
        package var allowNetworks: [String] = []
        package var responseTimeout = Interval.seconds(10)
        package var mediaTimeout = Interval.seconds(10)
        package var redirects = 3
        package var retryFirst = Interval.seconds(1)
        package var retryLongest = Interval.seconds(30)
        /// How long viewers wait for a source that is lost.
        package var keepViewers = Interval.seconds(120)
        /// How long a source goes on without viewers.
        package var linger = Interval.seconds(30)
        /// Sources at a time.
        package var max = 1_000
        package var tlsVerify = true
        package var sources: [Source] = []

        package init() {}

        func puller(_ counters: RTSPPullCounters) -> RTSPPullSettings {
            var settings = RTSPPullSettings()
            settings.client.userAgent = "Weir"
            settings.client.transports =
                switch transport {
                case .tcp: [.tcp]
                case .udp: [.udp]
                case .udpThenTCP: [.udp, .tcp]
                }
            settings.client.responseTimeout = responseTimeout
            settings.client.mediaTimeout = mediaTimeout
            settings.client.maxRedirects = redirects
            settings.policy.first = retryFirst
            settings.policy.longest = retryLongest
            settings.hostGuard.hosts = hosts
            settings.hostGuard.allow(networks: allowNetworks)
            settings.counters = counters
            var process = SourceProcessSettings()
            process.memory = processMemory
            process.folder = fileFolder
            // The connection, and a description of what comes; playlists and what they name are several connections.
            process.openingLimit = responseTimeout + responseTimeout
            process.mediaLimit = mediaTimeout
            process.networks = allowNetworks
            process.verifiesTLS = tlsVerify
            settings.process = process
            return settings
        }
    }
}

extension Doctor {
    /// Sources that could never be pulled, as far as their URLs tell.
    mutating func checkPull() {
        let pull = configuration.rtspPull
        guard pull.enabled else { return }
        let hostGuard = pull.puller(RTSPPullCounters()).hostGuard
        for source in pull.sources {
            let subject = "source \(source.name)"
            // Checked when the configuration was read.
            guard let target = PullTarget(source.url) else { continue }
            do throws(HostGuard.Refusal) {
                try hostGuard.check(target)
                // A name is looked up when it is pulled.
                if let host = target.host, let address = SocketAddress(ip: host, port: 0) {
                    try hostGuard.check(address)
                }
                if case .process(let url) = target, url.scheme == .file, !url.isBelow(pull.fileFolder) {
                    add(
                        .error, subject, "\(source.url) is not below rtsp.pull.file_folder",
                        "set rtsp.pull.file_folder to a folder that the file is in")
                    continue
                }
                add(.ok, subject, "\(StreamName.shown(source.url)) may be pulled")
            } catch {
                let remedy =
                    switch error {
                    case .host: "add \(target.host ?? "it") to rtsp.pull.hosts"
                    case .port: "use port 322, 554 (RTSP), 80, 443 (others), or 1024 and above"
                    case .address: "add \(target.host ?? "it") to rtsp.pull.allow_networks"
                    }
                add(.error, subject, "\(StreamName.shown(source.url)) may not be pulled", remedy)
            }
        }
    }
}

extension ConfigurationKey {
    private static let hour = Interval.seconds(3_600)
    private static let minute = Interval.seconds(60)

    static let rtspPull: [ConfigurationKey] = [
        .init("rtsp.pull", "enabled", \.rtspPull.enabled, .flag),
        .init(
            "rtsp.pull", "transport", \.rtspPull.transport,
            .word(Configuration.Pull.Transport.allCases.map { ($0.rawValue, $0) }, name: { $0.rawValue })),
        .init(
            "rtsp.pull", "schemes", \.rtspPull.schemes,
            .list(.word(PullTarget.schemes.map { ($0, $0) }, name: { $0 }), 0...PullTarget.schemes.count)),
        .init("rtsp.pull", "file_folder", \.rtspPull.fileFolder, .path),
        .init("rtsp.pull", "max_processes", \.rtspPull.maxProcesses, .integer(0...10_000)),
        .init("rtsp.pull", "process_memory", \.rtspPull.processMemory, .size(768 << 20...64 << 30)),
        .init("rtsp.pull", "hosts", \.rtspPull.hosts, .list(.pullHost, 0...1_000)),
        .init("rtsp.pull", "allow_networks", \.rtspPull.allowNetworks, .list(.pullNetwork, 0...256)),
        .init("rtsp.pull", "response_timeout", \.rtspPull.responseTimeout, .duration(.seconds(1)...minute)),
        .init("rtsp.pull", "media_timeout", \.rtspPull.mediaTimeout, .duration(.seconds(1)...minute * 10)),
        .init("rtsp.pull", "redirects", \.rtspPull.redirects, .integer(0...10)),
        .init("rtsp.pull", "retry_first", \.rtspPull.retryFirst, .duration(.milliseconds(100)...hour)),
        .init("rtsp.pull", "retry_longest", \.rtspPull.retryLongest, .duration(.milliseconds(100)...hour)),
        .init("rtsp.pull", "keep_viewers", \.rtspPull.keepViewers, .duration(.zero...hour * 24)),
        .init("rtsp.pull", "linger", \.rtspPull.linger, .duration(.zero...hour * 24)),
        .init("rtsp.pull", "max", \.rtspPull.max, .integer(1...100_000)),
        .init("rtsp.pull", "tls_verify", \.rtspPull.tlsVerify, .flag),
        .init("rtsp.pull", "sources", \.rtspPull.sources, .pullSources),
    ]
}

extension ValueForm where Value == String {
    fileprivate static var pullHost: Self {
        let remedy = "give a host such as camera.example.com, *.example.com or 192.0.2.1"
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                let host = text.hasPrefix("*.") ? text.dropFirst(2) : text[...]
                let isHost = host.utf8.allSatisfy { byte in
                    switch byte {
                    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
                    default: "-._:".utf8.contains(byte)
                    }
                }
                guard !host.isEmpty, isHost else {
                    throw BadValue("is not a host", remedy: remedy, line: value.line, value: value.text)
                }
                return text
            }, write: { "\"\($0)\"" })
    }

    fileprivate static var pullNetwork: Self {
        let remedy = "give an address or a range such as 192.168.7.0/24 or fd00::/8"
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                guard HostGuard.isNetwork(text) else {
                    throw BadValue("is not a range of addresses", remedy: remedy, line: value.line, value: value.text)
                }
                return text
            }, write: { "\"\($0)\"" })
    }
}

extension ValueForm where Value == [Configuration.Pull.Source] {
    fileprivate static var pullSources: Self {
        let list = ValueForm.list(.pullSource, 0...10_000)
        return Self(
            read: { value throws(BadValue) in
                let sources = try list.read(value)
                var names: Set<String> = []
                for source in sources where !names.insert(source.name).inserted {
                    throw BadValue(
                        "is the name of two sources", remedy: "give each a name of its own",
                        value: "\"\(source.name)\"")
                }
                return sources
            }, write: list.write)
    }
}

extension ValueForm where Value == Configuration.Pull.Source {
    /// The URL may have a password in it: no error shows it.
    fileprivate static var pullSource: Self {
        let modes = Configuration.Pull.Source.Mode.allCases.map(\.rawValue).joined(separator: " or ")
        let remedy = "give {name: NAME, url: \"rtsp://HOST/PATH\"}, perhaps with mode: \(modes)"
        return Self(
            read: { value throws(BadValue) in
                guard case .mapping(let pairs, _) = value else {
                    throw BadValue("is not a source", remedy: remedy, line: value.line, value: "the entry")
                }
                var (name, url) = ("", "")
                var mode = Configuration.Pull.Source.Mode.onDemand
                for (key, part) in pairs {
                    func bad(_ problem: String) -> BadValue {
                        BadValue(problem, remedy: remedy, line: part.line, value: key)
                    }
                    guard case .scalar(let text, _) = part else { throw bad("is not a single value") }
                    switch key {
                    case "name":
                        guard StreamName.check(text) == .valid else { throw bad("is not the name of a stream") }
                        name = text
                    case "url":
                        guard PullTarget(text) != nil else { throw bad("is not a URL that can be pulled") }
                        url = text
                    case "mode":
                        guard let word = Configuration.Pull.Source.Mode(rawValue: text) else {
                            throw bad("is not a mode")
                        }
                        mode = word
                    default: throw bad("is not a key of a source")
                    }
                }
                guard !name.isEmpty, !url.isEmpty else {
                    throw BadValue("is not complete", remedy: remedy, line: value.line, value: "the entry")
                }
                return .init(name: name, url: url, mode: mode)
            },
            write: { source in
                func quoted(_ text: String) -> String {
                    "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
                }
                return "{name: \(quoted(source.name)), url: \(quoted(source.url)), mode: \(source.mode.rawValue)}"
            })
    }
}
