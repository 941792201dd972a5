import DTLS
import Foundation
import Testing
import Weir
import Wire

private let lan = SocketAddress(ipv4: 0xc0a8_0102, port: 0)
private let global6 = SocketAddress(ip: "2001:db8::5", port: 0)

/// A certificate and its key as files, made the way the development certificate is.
private func makePair(_ directory: TemporaryDirectory, _ name: String) throws -> (certificate: String, key: String) {
    let made = "\(directory.path)/\(name)"
    _ = try TLSFiles(Configuration.TLS(), stateDirectory: made, addresses: [], logger: quiet)
    return ("\(made)/\(TLSFiles.developmentCertificateName)", "\(made)/\(TLSFiles.developmentKeyName)")
}

private func copy(_ from: String, over to: String) throws {
    try Data(contentsOf: URL(fileURLWithPath: from)).write(to: URL(fileURLWithPath: to))
}

@Suite struct TLSFilesTests {
    @Test func aDevelopmentCertificateIsMadeAndKept() throws {
        let directory = try TemporaryDirectory()
        let state = "\(directory.path)/a/state"
        let first = try TLSFiles(
            Configuration.TLS(), stateDirectory: state, addresses: [lan, global6].compactMap { $0 }, logger: quiet)
        #expect(first.isDevelopment)
        #expect(first.current.names == ["localhost", "127.0.0.1", "::1", "192.168.1.2", "2001:db8::5"])
        let days = first.current.notAfter.timeIntervalSinceNow / 86_400
        #expect(days > 390 && days < 398)
        let mode = try FileManager.default.attributesOfItem(atPath: first.keyPath)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        #expect(try FileManager.default.contentsOfDirectory(atPath: state).count == 2)
        let second = try TLSFiles(Configuration.TLS(), stateDirectory: state, addresses: [], logger: quiet)
        #expect(second.current.chain == first.current.chain)
    }

    @Test func aDevelopmentCertificateIsReplacedWhenItIsBrokenOrEnds() throws {
        let directory = try TemporaryDirectory()
        let files = try TLSFiles(Configuration.TLS(), stateDirectory: directory.path, addresses: [], logger: quiet)
        let old = files.current.chain
        #expect(!files.reloadIfChanged(now: Date()))
        #expect(files.reloadIfChanged(now: Date().addingTimeInterval(380 * 86_400)))
        #expect(files.current.chain != old)
        try Data("x".utf8).write(to: URL(fileURLWithPath: files.keyPath))
        let again = try TLSFiles(Configuration.TLS(), stateDirectory: directory.path, addresses: [], logger: quiet)
        #expect(again.current.chain != files.current.chain)
    }

    @Test func changedFilesAreReadAndBadOnesLeaveTheOldInUse() throws {
        let directory = try TemporaryDirectory()
        let one = try makePair(directory, "one")
        let two = try makePair(directory, "two")
        var settings = Configuration.TLS()
        settings.certificate = "\(directory.path)/cert.pem"
        settings.key = "\(directory.path)/key.pem"
        try copy(one.certificate, over: settings.certificate)
        try copy(one.key, over: settings.key)
        let tape = LogTape()
        let files = try TLSFiles(
            settings, stateDirectory: "/nowhere", addresses: [], logger: tape.makeSink().makeLogger())
        let first = files.current.chain
        #expect(!files.isDevelopment)
        #expect(!files.reloadIfChanged())

        // The certificate is new, the key is not yet: told of once.
        try copy(two.certificate, over: settings.certificate)
        #expect(!files.reloadIfChanged())
        #expect(!files.reloadIfChanged())
        #expect(files.current.chain == first)
        #expect(tape.lines.count == 1)
        #expect(tape.lines[0].contains("the private key is not that of the certificate"))

        try copy(two.key, over: settings.key)
        #expect(files.reloadIfChanged())
        #expect(files.current.chain != first)
        #expect(!files.reloadIfChanged())

        try FileManager.default.removeItem(atPath: settings.key)
        #expect(!files.reloadIfChanged())
        #expect(files.current.chain != first)
    }

    @Test func theWatchNoticesAChange() async throws {
        let directory = try TemporaryDirectory()
        let one = try makePair(directory, "one")
        let two = try makePair(directory, "two")
        var settings = Configuration.TLS()
        settings.certificate = one.certificate
        settings.key = one.key
        let files = try TLSFiles(settings, stateDirectory: "/nowhere", addresses: [], logger: quiet)
        let first = files.current.chain
        let watch = Task { await files.watch(every: .milliseconds(5)) }
        try copy(two.certificate, over: one.certificate)
        try copy(two.key, over: one.key)
        for _ in 0..<12_000 where files.current.chain == first { try await Task.sleep(for: .milliseconds(5)) }
        #expect(files.current.chain != first)
        watch.cancel()
        await watch.value
    }

    @Test func badFilesAreExplained() throws {
        let directory = try TemporaryDirectory()
        let pair = try makePair(directory, "one")
        let garbage = try directory.write("garbage.pem", "hello")
        for (certificate, key, expected) in [
            ("/nowhere.pem", pair.key, "there is no file /nowhere.pem"),
            (garbage, pair.key, "there is no certificate in PEM form"),
            (pair.certificate, garbage, "there is no private key in PEM form"),
        ] {
            var settings = Configuration.TLS()
            settings.certificate = certificate
            settings.key = key
            #expect {
                try TLSFiles(settings, stateDirectory: "/nowhere", addresses: [], logger: quiet)
            } throws: { "\($0)".contains(expected) && "\($0)".contains("tls.certificate") }
        }
        let file = try directory.write("file", "")
        #expect {
            try TLSFiles(Configuration.TLS(), stateDirectory: "\(file)/x", addresses: [], logger: quiet)
        } throws: { "\($0)".contains("set state.dir") }
    }

    @Test func theDTLSCertificateIsMadeOrReadFromAFile() throws {
        let directory = try TemporaryDirectory()
        var media = Configuration.Media()
        #expect(try DTLSFiles.certificate(media).fingerprintSHA256 != DTLSFiles.certificate(media).fingerprintSHA256)
        let pair = try makePair(directory, "one")
        media.dtlsCertificate = pair.certificate
        media.dtlsKey = pair.key
        let fingerprint = try DTLSFiles.certificate(media).fingerprintSHA256
        let both =
            try String(contentsOfFile: pair.certificate, encoding: .utf8)
            + String(contentsOfFile: pair.key, encoding: .utf8)
        media.dtlsCertificate = try directory.write("both.pem", both)
        media.dtlsKey = ""
        #expect(try DTLSFiles.certificate(media).fingerprintSHA256 == fingerprint)
        media.dtlsCertificate = "/nowhere.pem"
        #expect { try DTLSFiles.certificate(media) } throws: { "\($0)".contains("media.dtls_certificate /nowhere.pem") }
    }

    @Test func theStateDirectoryFollowsTheEnvironment() {
        #expect(StateDirectory.path("/x", environment: [:]) == "/x")
        #expect(StateDirectory.path("", environment: ["STATE_DIRECTORY": "/a:/b"]) == "/a")
        #expect(StateDirectory.path("", environment: [:], isRoot: true) == "/var/lib/weir")
        #expect(StateDirectory.path("", environment: ["XDG_STATE_HOME": "/s"], isRoot: false) == "/s/weir")
        #expect(StateDirectory.path("", environment: ["HOME": "/h"], isRoot: false) == "/h/.local/state/weir")
    }

    @Test func authoritiesOfClientsAreReadAgain() throws {
        let directory = try TemporaryDirectory()
        let one = try makePair(directory, "one")
        let path = "\(directory.path)/ca.pem"
        func files() throws -> TLSFiles {
            try TLSFiles(
                Configuration.TLS(), stateDirectory: "\(directory.path)/state", clientAuthorities: path, addresses: [],
                logger: quiet)
        }
        #expect(throws: TLSFilesError.self) { try files() }
        try Data("no certificate".utf8).write(to: URL(fileURLWithPath: path))
        #expect(throws: TLSFilesError.self) { try files() }
        try copy(one.certificate, over: path)
        let good = try files()
        let first = good.httpContext
        // The port of WCS does not ask.
        #expect(good.context !== first)
        #expect(!good.reloadIfChanged())
        try Data("no certificate any more".utf8).write(to: URL(fileURLWithPath: path))
        #expect(!good.reloadIfChanged())
        #expect(good.httpContext === first)
        try copy(try makePair(directory, "two").certificate, over: path)
        #expect(good.reloadIfChanged())
        #expect(good.httpContext !== first)
    }
}
