import MediaFormats
import RTSP
import Wire

/// Input: one byte of choices, then what a peer sends.
/// - 0...3: a client's bytes, to a server session whose outside agrees to everything, or to some things; over TLS it may
///   tell keys of SRTP.
/// - 4...5: a camera's bytes, to a client session that plays.
/// - 6: a session description. 7: values of headers, a line each, and a MIKEY message.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafeRawPointer?, _ count: Int) -> CInt {
    guard let data, count > 0 else { return 0 }
    let input = UnsafeRawBufferPointer(start: data, count: count)
    let bytes = [UInt8](input[1...])
    switch input[0] & 7 {
    case 0...3: serve(bytes, choices: input[0])
    case 4...5: pull(bytes, chunk: Int(input[0] >> 3) + 1)
    case 6: describe(bytes)
    default:
        headers(bytes)
        keys(bytes)
    }
    tunnel(bytes)
    return 0
}

/// The first bytes of a connection, and the body of POST, whole and in two pieces.
private func tunnel(_ bytes: [UInt8]) {
    if case .head(let head, let length) = HTTPTunnelHead.parse(bytes) {
        precondition(length <= min(bytes.count, HTTPTunnelHead.maxBytes) && !head.cookie.isEmpty, "bounds of a head")
    }
    var whole = Base64Stream()
    var pieces = whole
    let decoded = whole.decode(bytes)
    let half = bytes.count / 2
    guard let first = pieces.decode(bytes[..<half]), let second = pieces.decode(bytes[half...]) else {
        precondition(decoded == nil, "pieces refused, the whole not")
        return
    }
    precondition(decoded == first + second, "pieces make another text")
}

/// Calls `body` with each message, and checks that it can be written and is read the same again.
private func parse(
    _ bytes: [UInt8], chunk: Int, packet: (UInt8, Int) -> Void, failure: (RTSPParseError) -> Void,
    message: (RTSPMessage) -> Void
) {
    var parser = RTSPParser()
    var at = 0
    let limits = RTSPLimits()
    while at < bytes.count {
        let end = min(at + chunk, bytes.count)
        parser.append(Array(bytes[at..<end]))
        at = end
        do {
            while let next = try parser.next({ packet($0, $1.byteCount) }) {
                check(next)
                message(next)
            }
        } catch {
            failure(error)
            return
        }
        precondition(
            parser.heldBytes <= limits.head + limits.body + InterleavedFrame.maxPayload + chunk, "bound of what is held"
        )
    }
}

private func check(_ message: RTSPMessage) {
    let written: [UInt8]
    switch message {
    case .request(let request): written = request.bytes
    case .response(let response): written = response.bytes
    }
    var parser = RTSPParser()
    parser.append(written)
    do {
        let again = try parser.next { _, _ in preconditionFailure("a packet in a message of ours") }
        switch (message, again) {
        case (.request(let a), .request(let b)):
            precondition(a.methodName == b.methodName && a.uri == b.uri && a.body == b.body, "another request")
        case (.response(let a), .response(let b)):
            precondition(a.status == b.status && a.body == b.body, "another response")
        default: preconditionFailure("another kind of message")
        }
        precondition(parser.heldBytes == 0, "something left of a message of ours")
    } catch {
        // A continued line grows by being one line, and a field without a space by one.
        precondition(written.count > 16 << 10, "our own message: \(error)")
    }
}

private func serve(_ bytes: [UInt8], choices: UInt8) {
    var settings = RTSPServerSettings()
    if choices & 8 != 0 {
        settings.users = RTSPUsers(["a": "b"])
        settings.playersLogIn = true
        settings.auth.allowsBasic = true
    }
    guard let remote = SocketAddress(ip: "192.0.2.7", port: 4000), let local = SocketAddress(ip: "192.0.2.1", port: 554)
    else { return }
    var session = RTSPServerSession(
        settings: settings, peer: RTSPPeer(remote: remote, local: local, isSecure: choices & 16 != 0), now: .zero,
        makeSecret: { "12345678" }, makeSSRC: { UInt32($1) + 1 },
        keyMaker: RTSPKeyMaker(random: { (0..<$0).map { UInt8(truncatingIfNeeded: $0) } }, time: { 1 << 40 }))
    var now = Instant.zero
    var asked = 0
    var held = false
    func drain() {
        while let output = session.poll() {
            switch output {
            case .ask(let ticket, let question):
                asked += 1
                if asked % 5 == 0, choices & 32 != 0 { continue }
                if case .play(_, _, let tracks) = question { checkPaths(tracks) }
                switch question {
                case .play, .announce, .record: held = true
                case .mayPlay, .describe: break
                }
                session.answer(answer(question, refuses: choices & 64 != 0 && asked % 7 == 0), ticket: ticket, now: now)
            case .end: held = false
            case .send, .pause, .close: break
            }
        }
    }
    parse(
        bytes, chunk: [1, 7, 300, 100_000][Int(choices & 3)],
        packet: { channel, _ in _ = session.route(channel: channel, now: now) },
        failure: { session.receive($0) },
        message: { message in
            now = now + .seconds(1)
            session.receive(message, now: now)
            drain()
        })
    drain()
    session.connectionLost()
    drain()
    precondition(!held, "something held by nobody")
}

/// No datagram to a port of a service, no two tracks in one channel.
private func checkPaths(_ tracks: [RTSPSetUpTrack]) {
    var seen: Set<UInt32> = []
    for track in tracks {
        switch track.path {
        case .interleaved(let pair):
            precondition(seen.insert(UInt32(pair.rtp)).inserted && seen.insert(UInt32(pair.rtcp)).inserted, "channels")
            precondition(track.keys == nil, "SRTP in a connection")
        case .udp(let pair):
            precondition(pair.rtp >= 1024 && pair.rtcp >= 1024, "ports")
            precondition(seen.insert(UInt32(pair.rtp)).inserted && seen.insert(UInt32(pair.rtcp)).inserted, "ports")
        }
    }
}

private func answer(_ question: RTSPQuestion, refuses: Bool) -> RTSPAnswer {
    if refuses { return .refused(.notFound) }
    switch question {
    case .mayPlay, .announce, .record: return .allowed
    case .describe: return .tracks([TrackDescription(codec: .h264), TrackDescription(codec: .opus)])
    case .play(_, _, let tracks): return .playing(tracks.map { _ in .init(sequence: 1) })
    }
}

private func pull(_ bytes: [UInt8], chunk: Int) {
    guard let url = RTSPURL("rtsp://a:b@cam.example.com/live") else { return }
    var session = RTSPClientSession(url: url, settings: RTSPClientSettings(), now: .zero, makeNonce: { "n" })
    var now = Instant.zero
    var connects = 0
    func drain() {
        while let output = session.poll() {
            switch output {
            case .connect:
                connects += 1
                session.connected(now: now)
            case .bind: session.bound(.init(5000, 5001), now: now)
            case .playing(let tracks): precondition(tracks.count <= 2, "tracks")
            case .send, .disconnect, .failed: break
            }
        }
    }
    drain()
    parse(
        bytes, chunk: chunk, packet: { channel, _ in _ = session.route(channel: channel, now: now) },
        failure: { session.receive($0) },
        message: { message in
            now = now + .seconds(1)
            session.receive(message, now: now)
            session.tick(now: now)
            drain()
        })
    now = now + .seconds(100)
    session.tick(now: now)
    drain()
    precondition(connects <= 4, "redirects")
    precondition(session.deadline == .distantFuture || session.deadline > now, "a deadline that has passed")
}

private func describe(_ bytes: [UInt8]) {
    guard let description = try? RTSPDescription(parsing: bytes) else { return }
    let tracks = description.tracks.map(\.description)
    let text = RTSPDescription.text(name: "x", tracks: tracks, sessionID: 1)
    guard let again = try? RTSPDescription(parsing: Array(text.utf8)) else {
        preconditionFailure("our own description")
    }
    precondition(again.tracks.map(\.description.codec) == tracks.map(\.codec), "other codecs")
    for (a, b) in zip(again.tracks, tracks) where b.codec == .h264 || b.codec == .aac {
        precondition(a.description.parameterSets == b.parameterSets, "other parameter sets")
    }
    for track in tracks where track.codec == .aac {
        _ = MPEG4Generic(track.formatParameters).units(in: bytes.span.bytes)
    }
}

/// A message that can be read can be told on.
private func keys(_ bytes: [UInt8]) {
    guard let message = try? MIKEYMessage(parsing: bytes) else { return }
    let master = try? message.master()
    guard let again = try? MIKEYMessage(parsing: message.bytes) else { preconditionFailure("our own MIKEY message") }
    precondition(again.key == message.key && again.salt == message.salt, "another key")
    precondition(again.sessions == message.sessions && again.bundle == message.bundle, "other sources")
    precondition((try? again.master()) == master, "another master key")
}

private func headers(_ bytes: [UInt8]) {
    for line in bytes.split(separator: 0x0a, maxSplits: 64) {
        let text = String(decoding: line, as: UTF8.self)
        for way in RTSPTransport.parse(text) where way.destination == nil && way.source == nil {
            let again = RTSPTransport.parse(way.text)
            precondition(again.count == 1 && again.first?.interleaved == way.interleaved, "another way")
            precondition(again.first?.clientPort == way.clientPort && again.first?.mode == way.mode, "another way")
        }
        if let range = RTSPRange(text) { precondition(RTSPRange(range.text) != nil, "our own range") }
        _ = RTPInfo.parse(text)
        if let message = try? KeyManagement.parse(header: text) {
            let header = KeyManagement.header(message, uri: text)
            precondition((try? KeyManagement.parse(header: header))??.key == message.key, "another key")
        }
        if let crypto = try? SDESCrypto(parsing: text) { precondition(crypto.master.bytes.count == 30, "a short key") }
        if let session = RTSPSessionHeader(text) { precondition(!session.id.isEmpty, "a session without a name") }
        _ = AuthCredentials(text)
        var headers: RTSPHeaders = [:]
        headers.add("WWW-Authenticate", text)
        var client = ClientAuthenticator(user: "a", password: "b", allowsBasic: true, makeNonce: { "n" })
        if client.take(headers) { precondition(client.credentials(method: .play, uri: text) != nil, "no answer") }
        if let url = RTSPURL(text) { precondition(RTSPURL(url.requestURI)?.host == url.host, "another host") }
        if let url = SourceURL(text), let again = SourceURL(url.text) {
            precondition(again.host == url.host && again.port == url.port && again.text == url.text, "another place")
            _ = url.components(below: "/srv")
        }
        _ = RTSPTarget(text)
        _ = AddressRange(text)
    }
}
