import FoundationEssentials
import Tokens
import Wire

/// Looks at the machine and the configuration before the server starts, and says what to change.
package struct Doctor {
    package enum Severity: String, Sendable, Comparable {
        case ok, warning, error
        package static func < (a: Severity, b: Severity) -> Bool { a.rank < b.rank }
        private var rank: Int { self == .ok ? 0 : self == .warning ? 1 : 2 }
    }

    /// One thing that was looked at.
    package struct Finding: Sendable, Equatable {
        package var severity: Severity
        /// `TCP port 8080`.
        package var subject: String
        package var text: String
        /// What to change; empty when all is well.
        package var remedy = ""

        package var line: String {
            let mark = severity == .ok ? "ok     " : severity == .warning ? "warning" : "error  "
            return "\(mark)  \(subject): \(text)" + (remedy.isEmpty ? "" : "\n         → \(remedy)")
        }
    }

    let configuration: Configuration
    let stateDirectory: String
    let machine: DoctorMachine
    private var findings: [Finding] = []

    package init(_ configuration: Configuration, stateDirectory: String, machine: DoctorMachine = .live) {
        self.configuration = configuration
        self.stateDirectory = stateDirectory
        self.machine = machine
    }

    /// All checks, in the order a reader wants them.
    package mutating func examine() -> [Finding] {
        findings = []
        checkPorts()
        checkState()
        checkCertificate()
        checkDTLSCertificate()
        checkTokens()
        checkRecording()
        checkPlayback()
        checkPull()
        checkCandidates()
        checkProcessor()
        checkFiles()
        checkBuffers()
        checkAccess()
        return findings
    }

    /// 1 when something must be changed before Weir can serve, else 0.
    package static func exitCode(_ findings: [Finding]) -> Int32 {
        findings.contains { $0.severity == .error } ? 1 : 0
    }

    mutating func add(_ severity: Severity, _ subject: String, _ text: String, _ remedy: String = "") {
        findings.append(Finding(severity: severity, subject: subject, text: text, remedy: remedy))
    }

    // MARK: - Ports

    private mutating func checkPorts() {
        let c = configuration
        var wanted: [(key: String, transport: DoctorMachine.Transport, address: SocketAddress)] = []
        func want(_ key: String, _ transport: DoctorMachine.Transport, _ address: SocketAddress, _ port: UInt16) {
            guard port != 0 else { return }
            var address = address
            address.port = port
            wanted.append((key, transport, address))
        }
        want("websocket.port", .tcp, c.websocket.listen, c.websocket.port)
        want("websocket.tls_port", .tcp, c.websocket.listen, c.websocket.tlsPort)
        want("http.port", .tcp, c.http.listen, c.http.port)
        want("http.tls_port", .tcp, c.http.listen, c.http.tlsPort)
        if c.hls.enabled {
            want("hls.port", .tcp, c.http.listen, c.hls.port)
            want("hls.tls_port", .tcp, c.http.listen, c.hls.tlsPort)
        }
        if c.rtsp.enabled {
            for address in c.rtsp.listeners { want("rtsp.listeners", .tcp, address, address.port) }
            for address in c.rtsp.tlsListeners { want("rtsp.tls_listeners", .tcp, address, address.port) }
        }
        for address in c.media.listen {
            want("media.port", .udp, address, c.media.port)
            if c.media.tcp { want("media.port", .tcp, address, c.media.port) }
            // RTP and RTCP of all RTSP clients: an even port and the next one, or none.
            if c.rtsp.enabled, c.rtsp.udpPort > 0 {
                for port in [c.rtsp.udpPort, c.rtsp.udpPort | 1] { want("rtsp.udp_port", .udp, address, port) }
            }
        }
        for (key, transport, address) in wanted {
            let subject = "\(transport.rawValue) \(address) (\(key))"
            switch machine.bind(transport, address) {
            case .free: add(.ok, subject, "free")
            case .inUse:
                add(
                    .error, subject, "in use",
                    "stop what holds it (ss -lnp 'sport = :\(address.port)' names it) or set \(key)")
            case .forbidden:
                add(
                    .error, subject, "not permitted for this user",
                    "give the capability CAP_NET_BIND_SERVICE (see Config/weir.service) or set \(key) above 1023")
            case .noSuchAddress:
                add(
                    .error, subject, "this machine has no such address",
                    "set the listen key of that section to an address of an interface (ip -br address shows them)")
            case .failed(let why): add(.error, subject, why, "set \(key) or the listen address")
            }
        }
    }

    // MARK: - Files

    private mutating func checkState() {
        let subject = "state directory \(stateDirectory)"
        if let why = machine.cannotWrite(stateDirectory) {
            let remedy = "make it writable for the user that runs Weir, or set state.dir"
            // Only the development certificate is kept there.
            add(configuration.tls.certificate.isEmpty ? .error : .warning, subject, why, remedy)
        } else {
            add(.ok, subject, "writable")
        }
    }

    private mutating func checkCertificate() {
        let tls = configuration.tls
        let isHLSSecure = configuration.hls.enabled && configuration.hls.tlsPort != 0
        let isRTSPSecure = configuration.rtsp.enabled && !configuration.rtsp.tlsListeners.isEmpty
        guard configuration.websocket.tlsPort != 0 || configuration.http.tlsPort != 0 || isHLSSecure || isRTSPSecure
        else {
            add(.ok, "certificate", "not needed, TLS listeners are off")
            return
        }
        guard !tls.certificate.isEmpty else {
            add(
                .warning, "certificate", "a development certificate is used: browsers ask before they accept it",
                "set tls.certificate and tls.key to those of your domain; pages other than localhost need https for "
                    + "camera and microphone")
            return
        }
        let subject = "certificate \(tls.certificate)"
        do {
            let pair = try TLSFiles.read(tls.certificate, tls.key)
            let now = machine.now()
            let days = Int(pair.notAfter.timeIntervalSince(now) / 86_400)
            if pair.notAfter < now {
                add(
                    .error, subject, "expired on \(dayText(pair.notAfter))",
                    "renew it; Weir rereads the files by itself")
            } else if pair.notBefore > now {
                add(.error, subject, "not valid before \(dayText(pair.notBefore))", "check this machine's clock")
            } else if days < 14 {
                add(
                    .warning, subject, "expires in \(days) days, on \(dayText(pair.notAfter))",
                    "renew it; Weir rereads the files by itself")
            } else {
                add(
                    .ok, subject,
                    "matches its key, valid until \(dayText(pair.notAfter)) for \(pair.names.joined(separator: ", "))")
            }
            if pair.isSelfSigned {
                add(
                    .warning, subject, "signed by itself: browsers ask before they accept it",
                    "use one of a public authority")
            } else if pair.chain.count == 1 {
                add(
                    .warning, subject, "the file holds no intermediate certificate",
                    "give the full chain (fullchain.pem), or some clients will refuse it")
            }
        } catch {
            add(.error, subject, error.description, "set tls.certificate and tls.key to a PEM chain and its key")
        }
    }

    private mutating func checkDTLSCertificate() {
        guard !configuration.media.dtlsCertificate.isEmpty else { return }
        do {
            _ = try DTLSFiles.certificate(configuration.media)
            add(.ok, "DTLS certificate", "matches its key")
        } catch {
            add(.error, "DTLS certificate", error.description, "mend media.dtls_certificate or remove it")
        }
    }

    // MARK: - Candidates

    private mutating func checkCandidates() {
        let interfaces = machine.interfaces()
        let announced = configuration.media.announce
        let listen = configuration.media.listen
        func isCovered(_ address: SocketAddress) -> Bool {
            listen.contains { $0.hasSameIP(as: address) || ($0.isUnspecified && $0.family == address.family) }
        }
        let covered = interfaces.filter(isCovered)
        // Loopback is announced only when there is nothing else.
        let reachable = covered.filter { !$0.isLoopback }
        let candidates = announced.isEmpty ? (reachable.isEmpty ? covered : reachable) : announced
        if candidates.isEmpty {
            add(
                .error, "candidates", "no address to offer to peers",
                "bring an interface up, widen media.listen, or name addresses in media.announce")
            return
        }
        for address in candidates {
            let subject = "candidate \(address.ip)"
            let origin = announced.isEmpty ? "of an interface" : "announced"
            switch AddressReach(address) {
            case .loopback: add(.ok, subject, "\(origin), for this machine only")
            case .privateNetwork: add(.ok, subject, "\(origin), for the local network only")
            case .linkLocal:
                add(.warning, subject, "\(origin), link-local: browsers cannot use it", "remove it from media.announce")
            case .everywhere: add(.ok, subject, "\(origin), public")
            }
            if !announced.isEmpty, !listen.contains(where: { $0.family == address.family }) {
                add(
                    .error, subject, "nothing listens on its family",
                    "add \(address.family == .ipv4 ? "0.0.0.0" : "\"::\"") to media.listen")
            }
        }
        if !candidates.contains(where: { AddressReach($0) == .everywhere }) {
            add(
                .warning, "candidates", "all are private: peers on the internet cannot reach this server",
                "name the public address in media.announce, and forward UDP and TCP \(configuration.media.port) "
                    + "to this machine"
            )
        }
    }

    // MARK: - Machine

    private mutating func checkProcessor() {
        let flags = machine.processorFlags()
        let wanted = ["aes", "vaes", "vpclmulqdq", "avx512f"]
        let have = wanted.filter(flags.contains)
        let missing = wanted.filter { !flags.contains($0) }
        if flags.contains("aes") || flags.contains("asimd") {
            add(
                .ok, "processor",
                "has \((flags.contains("aes") ? have : ["aes"]).joined(separator: ", "))"
                    + (missing.isEmpty || !flags.contains("aes") ? "" : "; without \(missing.joined(separator: ", "))"))
        } else {
            add(
                .warning, "processor", "no AES instructions: encryption will be the limit",
                "if this is a virtual machine, pass the host's CPU model through")
        }
        let choice = configuration.media.srtpBackend
        let available = machine.srtpBackends()
        if choice == .automatic {
            add(.ok, "SRTP backend", "\(machine.preferredBackend()) (of \(available.joined(separator: ", ")))")
        } else if !available.contains(choice.rawValue) {
            add(
                .error, "SRTP backend", "\(choice.rawValue) is not to be had on this machine",
                "set media.srtp_backend to auto or one of \(available.joined(separator: ", "))")
        } else if choice.rawValue != machine.preferredBackend() {
            add(
                .warning, "SRTP backend", "\(choice.rawValue) is slower here than \(machine.preferredBackend())",
                "set media.srtp_backend to auto")
        } else {
            add(.ok, "SRTP backend", choice.rawValue)
        }
        let workers = configuration.media.workers
        let cores = machine.processors()
        if workers > cores {
            add(
                .warning, "workers", "\(workers) threads for \(cores) cores take turns",
                "set media.workers to 0 (one per core)")
        }
    }

    /// Descriptors: one per TCP connection, and some for files, epoll and listeners.
    private mutating func checkFiles() {
        let spare = 256
        let wanted =
            configuration.limits.connections + (configuration.media.tcp ? configuration.media.tcpConnections : 0)
            + spare
        let limits = machine.fileLimits()
        if limits.hard < wanted {
            add(
                .warning, "open files", "the limit is \(limits.hard), the configured connections need \(wanted)",
                "LimitNOFILE=1048576 in the service (ulimit -Hn in a shell), or lower limits.connections")
        } else {
            // The server raises the soft limit to the hard one by itself.
            add(.ok, "open files", "the limit of \(limits.hard) covers the \(wanted) that the configuration needs")
        }
    }

    private mutating func checkBuffers() {
        let media = configuration.media
        for (key, name, wanted) in [
            ("receive_buffer", "rmem_max", media.receiveBuffer), ("send_buffer", "wmem_max", media.sendBuffer),
        ] {
            let subject = "net.core.\(name)"
            guard let granted = machine.kernelSetting("net/core/\(name)") else {
                add(.warning, subject, "cannot be read", "check /proc/sys/net/core/\(name)")
                continue
            }
            if granted >= wanted {
                add(.ok, subject, "\(sizeText(granted)) covers media.\(key) (\(sizeText(wanted)))")
            } else {
                add(
                    .warning, subject,
                    "\(sizeText(granted)) cuts media.\(key) (\(sizeText(wanted))): bursts will be lost",
                    "sysctl -w net.core.\(name)=\(wanted), and the same line in /etc/sysctl.d/weir.conf")
            }
        }
    }

    // MARK: - Access

    private mutating func checkTokens() {
        let file = configuration.tokens.jwksFile
        guard !file.isEmpty else { return }
        let subject = "tokens.jwks_file \(file)"
        do {
            let set = try KeySet(file: file)
            add(.ok, subject, "\(set.keys.count) keys, \(set.skipped) that tokens do not need")
        } catch {
            add(.error, subject, "\(error)", "give the file of the issuer's public keys (docs/security.md)")
        }
    }

    private mutating func checkAccess() {
        let websocket = configuration.websocket.listen
        let http = configuration.http.listen
        if websocket.isLoopback, http.isLoopback {
            add(.ok, "access", "the listeners are for this machine only")
            return
        }
        let configured = configuration.applications.filter { !configuration.hooks.enabled || $0.backend.isBuiltIn }
        let known = Set(configuration.applications.map(\.key))
        let open = configured.map(\.key) + configuration.hooks.builtIn.filter { !known.contains($0) }
        let unprotected = open.filter { !configuration.tokens.decides(about: $0) }
        guard !unprotected.isEmpty else {
            add(.ok, "access", "backends or tokens decide about every application")
            return
        }
        add(
            .warning, "access",
            "no backend and no token decides about \(unprotected.sorted().joined(separator: " and ")): everyone who "
                + "reaches the ports may publish and play every name",
            "give them a backend (docs/hooks.md) or let tokens decide (docs/security.md), leave them out of "
                + "hooks.built_in, or let only trusted networks reach the ports"
        )
    }
}

/// From where an address can be reached.
package enum AddressReach: Sendable {
    case loopback, linkLocal, privateNetwork, everywhere

    /// RFC 1918, RFC 6598 (carrier NAT), RFC 5737 and RFC 3849 (documentation), RFC 4193, RFC 3927, RFC 4291.
    package init(_ address: SocketAddress) {
        if address.isLoopback {
            self = .loopback
        } else if address.isLinkLocal {
            self = .linkLocal
        } else if address.family == .ipv4 {
            let a = address.low
            let isPrivate = a >> 24 == 10 || a >> 20 == 0xac1 || a >> 16 == 0xc0a8 || a >> 22 == 0x191
            let isDocumentation = a >> 8 == 0xc0_0002 || a >> 8 == 0xc6_3364 || a >> 8 == 0xcb_0071
            self = isPrivate || isDocumentation ? .privateNetwork : .everywhere
        } else {
            let isDocumentation = address.high >> 32 == 0x2001_0db8
            self = address.high >> 57 == 0x7e || isDocumentation ? .privateNetwork : .everywhere
        }
    }
}
