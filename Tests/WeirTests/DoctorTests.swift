import Foundation
import Synchronization
import Testing
import Weir
import Wire

/// A machine where all is well.
private func goodMachine() -> DoctorMachine {
    var machine = DoctorMachine(
        bind: { _, _ in .free },
        interfaces: {
            [SocketAddress(ip: "8.8.4.4", port: 0), SocketAddress(ip: "127.0.0.1", port: 0)].compactMap { $0 }
        },
        processorFlags: { ["aes", "vaes", "vpclmulqdq", "avx512f"] }, processors: { 4 },
        srtpBackends: { ["ipsec-mb", "openssl", "libsrtp2"] }, preferredBackend: { "ipsec-mb" },
        fileLimits: { (1_048_576, 1_048_576) }, kernelSetting: { _ in 8 << 20 }, cannotWrite: { _ in nil },
        now: { Date() })
    machine.freeSpace = { _ in 1 << 40 }
    return machine
}

private func examine(_ configuration: Configuration = Configuration(), _ machine: DoctorMachine) -> [Doctor.Finding] {
    var doctor = Doctor(configuration, stateDirectory: "/state", machine: machine)
    return doctor.examine()
}

private func text(_ findings: [Doctor.Finding], _ severity: Doctor.Severity) -> String {
    findings.filter { $0.severity == severity }.map(\.line).joined(separator: "\n")
}

@Suite struct DoctorTests {
    @Test func aGoodMachineHasNoErrorsAndOneWarningEachForCertificateAndAccess() {
        let findings = examine(goodMachine())
        #expect(Doctor.exitCode(findings) == 0)
        #expect(findings.filter { $0.severity == .warning }.map(\.subject) == ["certificate", "access"])
        #expect(findings.filter { $0.severity != .ok }.allSatisfy { !$0.remedy.isEmpty })
        let subjects = findings.map(\.subject).joined(separator: "\n")
        for wanted in [
            "TCP 0.0.0.0:8080", "TCP 0.0.0.0:8443", "TCP 0.0.0.0:8081", "TCP 0.0.0.0:8444", "UDP 0.0.0.0:31001",
            "TCP 0.0.0.0:31001", "TCP 0.0.0.0:8554", "UDP 0.0.0.0:8000", "UDP 0.0.0.0:8001",
        ] {
            #expect(subjects.contains(wanted))
        }
    }

    private func examine(_ machine: DoctorMachine) -> [Doctor.Finding] { WeirTests.examine(Configuration(), machine) }

    @Test(arguments: [
        (DoctorMachine.Binding.inUse, "in use"), (.forbidden, "CAP_NET_BIND_SERVICE"),
        (.noSuchAddress, "no such address"),
        (.failed("odd"), "odd"),
    ])
    func portsThatCannotBeHadAreErrors(binding: DoctorMachine.Binding, expected: String) {
        var machine = goodMachine()
        machine.bind = { transport, address in transport == .udp && address.port == 31001 ? binding : .free }
        let findings = examine(machine)
        #expect(Doctor.exitCode(findings) == 1)
        #expect(text(findings, .error).contains(expected))
        #expect(text(findings, .error).contains("UDP 0.0.0.0:31001 (media.port)"))
    }

    @Test func bothPortsOfRTPAreLookedAt() {
        var machine = goodMachine()
        machine.bind = { transport, address in transport == .udp && address.port == 8001 ? .inUse : .free }
        let findings = examine(machine)
        #expect(Doctor.exitCode(findings) == 1)
        #expect(text(findings, .error).contains("UDP 0.0.0.0:8001 (rtsp.udp_port)"))
        #expect(text(findings, .error).contains("set rtsp.udp_port"))
        var without = Configuration()
        without.rtsp.udpPort = 0
        #expect(Doctor.exitCode(WeirTests.examine(without, machine)) == 0)
    }

    @Test func aPortInUseIsFoundOnTheRealMachine() throws {
        let holder = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(holder) }
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(holder, $0, length)
                _ = listen(holder, 1)
                _ = getsockname(holder, $0, &length)
            }
        }
        let port = UInt16(bigEndian: name.sin_port)
        let live = DoctorMachine.live
        #expect(live.bind(.tcp, SocketAddress(ipv4: 0x7f00_0001, port: port)) == .inUse)
        #expect(live.bind(.tcp, SocketAddress(ipv4: 0, port: port)) == .inUse)
        #expect(live.bind(.udp, SocketAddress(ipv4: 0x7f00_0001, port: 0)) == .free)
        #expect(live.bind(.udp, SocketAddress(ipv4: 0xc000_0263, port: 0)) == .noSuchAddress)
    }

    @Test func theRealMachineCanBeExamined() {
        let live = DoctorMachine.live
        #expect(!live.processorFlags().isEmpty)
        #expect(live.fileLimits().soft > 0 && live.fileLimits().hard >= live.fileLimits().soft)
        #expect((live.kernelSetting("net/core/rmem_max") ?? 1) > 0)
        #expect(live.cannotWrite(NSTemporaryDirectory()) == nil)
        #expect(live.cannotWrite(NSTemporaryDirectory() + "/not/there/yet") == nil)
        #expect(live.cannotWrite("/dev/null/x") != nil)
        #expect(live.srtpBackends().contains(live.preferredBackend()))
    }

    @Test func candidatesAreNamedAndJudged() {
        var machine = goodMachine()
        machine.interfaces = { [] }
        #expect(text(examine(machine), .error).contains("no address to offer"))
        machine.interfaces = { [SocketAddress(ipv4: 0x0a00_0001, port: 0)] }
        let findings = examine(machine)
        #expect(text(findings, .ok).contains("candidate 10.0.0.1: of an interface, for the local network only"))
        #expect(text(findings, .warning).contains("all are private"))
        // An IPv6 interface is no candidate while nothing listens on IPv6.
        machine.interfaces = { [SocketAddress(family: .ipv6, high: 0x2001_0db8_0000_0000, low: 1, port: 0)] }
        #expect(text(examine(machine), .error).contains("no address to offer"))
        var configuration = Configuration()
        configuration.media.announce = [SocketAddress(family: .ipv6, high: 0x2001_0db8_0000_0000, low: 1, port: 0)]
        #expect(text(WeirTests.examine(configuration, machine), .error).contains("nothing listens on its family"))
    }

    @Test(arguments: [
        ("127.0.0.1", AddressReach.loopback), ("10.1.2.3", .privateNetwork), ("172.16.0.1", .privateNetwork),
        ("172.31.255.255", .privateNetwork), ("172.32.0.1", .everywhere), ("192.168.0.1", .privateNetwork),
        ("100.64.0.1", .privateNetwork), ("100.128.0.1", .everywhere), ("169.254.1.1", .linkLocal),
        ("8.8.8.8", .everywhere), ("::1", .loopback), ("fe80::1", .linkLocal), ("fd00::1", .privateNetwork),
        ("2001:db8::1", .privateNetwork), ("2600::1", .everywhere), ("192.0.2.2", .privateNetwork),
        ("203.0.113.9", .privateNetwork), ("198.51.100.1", .privateNetwork),
    ])
    func addressesAreToldApartByReach(ip: String, reach: AddressReach) throws {
        #expect(AddressReach(try #require(SocketAddress(ip: ip, port: 0))) == reach)
    }

    @Test func limitsThatAreTooLowNameTheRemedy() {
        var machine = goodMachine()
        machine.fileLimits = { (1024, 1_048_576) }
        machine.kernelSetting = { _ in 212_992 }
        var warnings = text(examine(machine), .warning)
        #expect(!warnings.contains("open files"))
        #expect(warnings.contains("sysctl -w net.core.rmem_max=4194304"))
        #expect(warnings.contains("sysctl -w net.core.wmem_max=4194304"))
        machine.fileLimits = { (1024, 4096) }
        warnings = text(examine(machine), .warning)
        #expect(warnings.contains("LimitNOFILE=1048576"))
    }

    @Test func processorAndBackendAreJudged() {
        var machine = goodMachine()
        machine.processorFlags = { ["sse2"] }
        #expect(text(examine(machine), .warning).contains("no AES instructions"))
        machine.srtpBackends = { ["openssl", "libsrtp2"] }
        machine.preferredBackend = { "openssl" }
        var configuration = Configuration()
        configuration.media.srtpBackend = .ipsecMB
        #expect(text(WeirTests.examine(configuration, machine), .error).contains("ipsec-mb is not to be had"))
        configuration.media.srtpBackend = .libsrtp2
        #expect(text(WeirTests.examine(configuration, machine), .warning).contains("libsrtp2 is slower"))
        configuration.media.workers = 64
        #expect(text(WeirTests.examine(configuration, machine), .warning).contains("64 threads for 4 cores"))
    }

    @Test func certificatesAreCheckedForKeyAndDate() throws {
        let directory = try TemporaryDirectory()
        _ = try TLSFiles(Configuration.TLS(), stateDirectory: directory.path, addresses: [], logger: quiet)
        var configuration = Configuration()
        configuration.tls.certificate = "\(directory.path)/\(TLSFiles.developmentCertificateName)"
        configuration.tls.key = "\(directory.path)/\(TLSFiles.developmentKeyName)"
        var machine = goodMachine()
        #expect(text(WeirTests.examine(configuration, machine), .ok).contains("matches its key"))
        machine.now = { Date().addingTimeInterval(390 * 86_400) }
        #expect(text(WeirTests.examine(configuration, machine), .warning).contains("expires in"))
        machine.now = { Date().addingTimeInterval(500 * 86_400) }
        #expect(text(WeirTests.examine(configuration, machine), .error).contains("expired on"))
        machine.now = { Date().addingTimeInterval(-9 * 86_400) }
        #expect(text(WeirTests.examine(configuration, machine), .error).contains("check this machine's clock"))
        configuration.tls.key = configuration.tls.certificate
        #expect(text(WeirTests.examine(configuration, machine), .error).contains("private key"))
        configuration.media.dtlsCertificate = "/nowhere.pem"
        #expect(text(WeirTests.examine(configuration, machine), .error).contains("media.dtls_certificate"))
    }

    @Test func anUnwritableStateDirectoryIsAnErrorOnlyWhenItIsNeeded() {
        var machine = goodMachine()
        machine.cannotWrite = { _ in "not writable" }
        #expect(text(examine(machine), .error).contains("state directory /state"))
        var configuration = Configuration()
        configuration.tls.certificate = "/c"
        configuration.tls.key = "/k"
        #expect(text(WeirTests.examine(configuration, machine), .warning).contains("state directory /state"))
    }

    @Test func itWarnsThatEveryoneMayPublish() {
        #expect(text(examine(goodMachine()), .warning).contains("everyone who reaches the ports may publish"))
        var configuration = Configuration()
        configuration.websocket.listen = SocketAddress(ipv4: 0x7f00_0001, port: 0)
        configuration.http.listen = SocketAddress(ipv4: 0x7f00_0001, port: 0)
        #expect(text(WeirTests.examine(configuration, goodMachine()), .ok).contains("access"))
    }
}

@Suite struct PlaybackDoctorTests {
    private func examine(_ folder: String, _ why: String?, enabled: Bool = true) -> [Doctor.Finding] {
        var configuration = Configuration()
        configuration.vod.folder = folder
        configuration.vod.enabled = enabled
        var machine = goodMachine()
        machine.cannotRead = { $0 == folder ? why : nil }
        return WeirTests.examine(configuration, machine)
    }

    @Test func aFolderThatCannotBeReadIsAWarning() {
        #expect(text(examine("/srv/films", "No such file or directory"), .warning).contains("/srv/films"))
        #expect(text(examine("/srv/films", nil), .ok).contains("media folder /srv/films"))
        #expect(!text(examine("/srv/films", "no", enabled: false), .warning).contains("/srv/films"))
    }

    @Test func recordingsArePlayedOnlyWhereWhoKnowsTheirNamesMayFetchThem() {
        var configuration = Configuration()
        #expect(configuration.playsRecordings)
        configuration.recording.download = .operator
        #expect(!configuration.playsRecordings)
        configuration.recording.download = .link
        configuration.vod.records = false
        #expect(!configuration.playsRecordings)
    }
}

@Suite struct PullDoctorTests {
    private func errors(_ url: String, _ change: (inout Configuration.Pull) -> Void = { _ in }) -> String {
        var configuration = Configuration()
        configuration.rtspPull.sources = [.init(name: "yard", url: url)]
        change(&configuration.rtspPull)
        return text(examine(configuration, goodMachine()), .error)
    }

    @Test func whatCouldNeverBePulledIsAnError() {
        #expect(errors("rtmp://cam.example.com/live") == "" && errors("udp://@:5000") == "")
        #expect(errors("http://10.0.0.1/x").contains("rtsp.pull.allow_networks"))
        #expect(errors("http://10.0.0.1/x") { $0.allowNetworks = ["10.0.0.0/8"] } == "")
        #expect(errors("http://cam.example.com:25/x").contains("80, 443"))
        #expect(errors("https://cam.example.com/x") { $0.hosts = ["*.example.org"] }.contains("rtsp.pull.hosts"))
    }

    @Test func filesAreBelowTheirFolder() {
        #expect(errors("file:///srv/a.mp4").contains("rtsp.pull.file_folder"))
        #expect(errors("file:///srv/a.mp4") { $0.fileFolder = "/srv" } == "")
        #expect(errors("file:///srv/../etc/a.mp4") { $0.fileFolder = "/srv" } != "")
    }
}

@Suite struct RecordingDoctorTests {
    private func examine(_ change: (inout Configuration, inout DoctorMachine) -> Void) -> [Doctor.Finding] {
        var configuration = Configuration()
        var machine = goodMachine()
        change(&configuration, &machine)
        return WeirTests.examine(configuration, machine)
    }

    @Test func aFolderThatCannotBeWrittenIsAnError() {
        let found = examine { configuration, machine in
            configuration.recording.folder = "/srv/records"
            machine.cannotWrite = { $0 == "/srv/records" ? "read-only" : nil }
        }
        #expect(text(found, .error).contains("recording.folder"))
        let switchedOff = examine { configuration, machine in
            configuration.recording.enabled = false
            machine.cannotWrite = { $0.hasSuffix("records") ? "no" : nil }
        }
        #expect(text(switchedOff, .error) == "")
    }

    @Test func aFullDiskAndFilesForEverAreWarnings() {
        #expect(text(examine { $1.freeSpace = { _ in 100 << 20 } }, .warning).contains("100MiB free"))
        let endless = examine { configuration, _ in configuration.recording.all = true }
        #expect(text(endless, .warning).contains("recording.keep"))
    }

    @Test func aHookMustBeAProgram() {
        let missing = examine { configuration, _ in configuration.recording.hook = "/nonexistent/hook" }
        #expect(text(missing, .error).contains("/nonexistent/hook"))
        #expect(text(examine { configuration, _ in configuration.recording.hook = "/bin/sh" }, .error) == "")
    }
}
