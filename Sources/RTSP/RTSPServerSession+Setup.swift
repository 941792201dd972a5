import MediaFormats
import SDP
import Wire

extension RTSPServerSession {
    /// Ports below are services'; a client that names one would have us send media to them.
    private static let firstClientPort: UInt16 = 1024
    private static let maxChannels: UInt8 = 254

    mutating func setUp(_ current: Current) {
        switch role {
        case .record(_, let uri, let all)?: setUpPublisher(current, uri, all)
        case .play(let name, let query, let known)? where name == current.target?.name:
            setUpPlayer(current, known, query: query)
        default:
            // Another presentation in the same session (RFC 2326 §11.3.4).
            guard tracks.isEmpty else { return respond(.aggregateNotAllowed) }
            ask(.describe(name: current.target?.name ?? "", query: query), stage: .description)
        }
    }

    /// - Parameter query: with which the tracks were described.
    mutating func setUpPlayer(_ current: Current, _ known: [TrackDescription], query: String?) {
        guard let target = current.target, !known.isEmpty else { return respond(.notFound) }
        // A presentation of one track may be asked for by its own name.
        guard let index = target.track ?? (known.count == 1 ? 0 : nil) else { return respond(.aggregateNotAllowed) }
        guard known.indices.contains(index) else { return respond(.notFound) }
        let ssrc = makeSSRC(target.name, index)
        switch choose(current, mode: .play, index: index) {
        case .failure(let refusal): respond(refusal.status)
        case .success(var way):
            way.ssrc = ssrc
            let keys: TrackSecurity?
            do throws(SRTPKeyError) {
                keys = try playerKeys(current, way, index: index, ssrc: ssrc)
            } catch { return respond(keyFailure("\(error)", current)) }
            role = .play(name: target.name, query: query, tracks: known)
            finish(
                current, way, keys,
                RTSPSetUpTrack(
                    index: index, path: way.path, ssrc: ssrc, payloadType: RTSPDescription.payloadTypes(known)[index],
                    codec: known[index].codec))
        }
    }

    private mutating func setUpPublisher(_ current: Current, _ uri: String, _ all: [RTSPDescription.Track]) {
        let named = recordTrackIndex(current.request.uri, uri, all)
        let isWhole = Self.sameResource(current.request.uri, uri)
        guard let index = named ?? (isWhole && all.count == 1 ? 0 : nil) else {
            return respond(isWhole ? .aggregateNotAllowed : .notFound)
        }
        switch choose(current, mode: .record, index: index) {
        case .failure(let refusal): respond(refusal.status)
        case .success(let way):
            let keys: TrackSecurity?
            do throws(SRTPKeyError) {
                keys = try publisherKeys(current, way, all[index], index: index)
            } catch { return respond(keyFailure("\(error)", current)) }
            finish(
                current, way, keys,
                RTSPSetUpTrack(
                    index: index, path: way.path, ssrc: 0, payloadType: all[index].description.payloadType))
        }
    }

    private mutating func finish(
        _ current: Current, _ way: RTSPTransport, _ keys: TrackSecurity?, _ chosen: RTSPSetUpTrack
    ) {
        var track = chosen
        track.keys = keys?.keys
        tracks.removeAll { $0.index == track.index }
        tracks.append(track)
        tracks.sort { $0.index < $1.index }
        base = current.target?.base ?? base
        beginSession()
        var shown = way
        var headers: RTSPHeaders = [:]
        if current.request.version == .v2 {
            // RFC 7826 §18.54: addresses instead of ports.
            if let ports = way.clientPort, let ours = way.serverPort {
                shown.destinationAddresses = [":\(ports.rtp)", ":\(ports.rtcp)"]
                shown.sourceAddresses = [":\(ours.rtp)", ":\(ours.rtcp)"]
                (shown.clientPort, shown.serverPort, shown.destination) = (nil, nil, nil)
            }
            headers["Accept-Ranges"] = "npt"
            headers["Media-Properties"] = "No-Seeking, Time-Progressing, Time-Duration=0.0"
            shown.mikey = keys?.answer.map { Base64Text.encode($0.bytes) }
        } else if let answer = keys?.answer {
            headers["KeyMgmt"] = KeyManagement.header(answer, uri: current.request.uri)
        }
        headers["Transport"] = shown.text
        respond(.ok, headers)
    }

    // MARK: Transport

    struct Refusal: Error {
        var status: RTSPStatus
    }

    /// The first way of the client's list that we can go, completed with our part.
    private func choose(_ current: Current, mode: RTSPTransport.Mode, index: Int) -> Result<RTSPTransport, Refusal> {
        let offered = RTSPTransport.parse(current.request.headers.values("Transport").joined(separator: ","))
        var sawProhibited = false
        var reason: String?
        let others = tracks.filter { $0.index != index }
        for way in offered {
            guard !way.isMulticast, way.mode == nil || way.mode == mode else { continue }
            var way = way
            // Who was given a key by SDES decrypts whatever it has asked for (ffmpeg knows no RTP/SAVP).
            if mode == .play, exchange == .sdes, !way.profile.isSecure { way.profile = .savp }
            if let refusal = srtpRefusal(way) {
                reason = reason ?? refusal
                continue
            }
            // All tracks of a session go the same way: their clocks are told by reports that do.
            guard others.allSatisfy({ $0.isInterleaved == (way.lower == .tcp) }) else { continue }
            switch way.lower {
            case .tcp:
                guard let channels = channels(way.interleaved, others) else { continue }
                var chosen = RTSPTransport(.tcp, profile: way.profile)
                chosen.interleaved = channels
                chosen.mode = way.mode
                return .success(chosen)
            case .udp:
                guard let ours = settings.udpPorts, let ports = clientPorts(way) else { continue }
                guard isOwn(way) else {
                    sawProhibited = true
                    continue
                }
                guard !others.contains(where: { $0.uses(ports) }) else { continue }
                var chosen = RTSPTransport(.udp, profile: way.profile)
                chosen.clientPort = ports
                chosen.serverPort = ours
                chosen.destination = way.destination
                chosen.mode = way.mode
                return .success(chosen)
            }
        }
        guard sawProhibited else {
            let status = RTSPStatus.unsupportedTransport
            return .failure(
                Refusal(status: reason.map { RTSPStatus(status.code, "\(status.reason): \($0)") } ?? status))
        }
        return .failure(Refusal(status: current.request.version == .v2 ? .destinationProhibited : .forbidden))
    }

    /// The client's channels, or the next free ones where it names none, or some that are in use.
    private func channels(
        _ wanted: RTSPTransport.Pair<UInt8>?, _ others: [RTSPSetUpTrack]
    ) -> RTSPTransport.Pair<UInt8>? {
        var used: Set<UInt8> = []
        for case .interleaved(let pair) in others.map(\.path) { used.formUnion([pair.rtp, pair.rtcp]) }
        if let wanted, wanted.rtp != wanted.rtcp, !used.contains(wanted.rtp), !used.contains(wanted.rtcp) {
            return wanted
        }
        for first in stride(from: UInt8(0), through: Self.maxChannels, by: 2)
        where !used.contains(first) && !used.contains(first + 1) {
            return .init(first, first + 1)
        }
        return nil
    }

    private func clientPorts(_ way: RTSPTransport) -> RTSPTransport.Pair<UInt16>? {
        var ports = way.clientPort
        if ports == nil, way.destinationAddresses.count == 2 {
            let numbers = way.destinationAddresses.map { Self.place($0)?.port ?? 0 }
            ports = .init(numbers[0], numbers[1])
        }
        guard let ports, ports.rtp != ports.rtcp, min(ports.rtp, ports.rtcp) >= Self.firstClientPort else { return nil }
        return ports
    }

    /// Media goes to where the connection comes from and nowhere else, so that nobody can have us flood a third party.
    private func isOwn(_ way: RTSPTransport) -> Bool {
        func isPeer(_ host: String) -> Bool {
            SocketAddress(ip: host, port: 0)?.hasSameIP(as: peer.remote) ?? false
        }
        if let destination = way.destination, !isPeer(destination) { return false }
        return way.destinationAddresses.allSatisfy { text in
            guard let place = Self.place(text) else { return false }
            return place.host.isEmpty || isPeer(place.host)
        }
    }

    /// `192.0.2.1:5000`, `[2001:db8::1]:5000`, `:5000`
    private static func place(_ text: String) -> (host: String, port: UInt16)? {
        guard let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")),
            let port: UInt16 = text[text.utf8.index(after: colon)...].decimal()
        else { return nil }
        var host = text[..<colon]
        if host.utf8.first == UInt8(ascii: "["), host.utf8.last == UInt8(ascii: "]") {
            host = Substring(host.utf8.dropFirst().dropLast())
        }
        return (String(host), port)
    }

    // MARK: URLs of a publisher's tracks

    /// Which announced track a URL means: the one whose control it is, whatever else it may look like. GStreamer calls
    /// its tracks `stream=1` and `stream=0`, in this order.
    package func recordTrackIndex(_ request: String, _ uri: String, _ all: [RTSPDescription.Track]) -> Int? {
        func index(_ controls: (RTSPDescription.Track) -> [String]) -> Int? {
            all.firstIndex { track in
                recordTrackURIs(controls(track), uri).contains { Self.sameResource($0, request) }
            }
        }
        return index { [$0.control].compactMap(\.self) }
            // Where the description says nothing.
            ?? index { ["stream=\($0.mLineIndex)", RTSPDescription.control(track: $0.mLineIndex)] }
    }

    /// How clients may write the URL of a track.
    private func recordTrackURIs(_ controls: [String], _ uri: String) -> [String] {
        let bases = [uri, RTSPTarget(uri)?.url].compactMap { $0 }
        return controls.flatMap { control in
            bases.flatMap { base -> [String] in
                let joined = ControlURL.join(base: base, control: control)
                // With the query behind the track, as RFC 3986 has it.
                guard let query = RTSPTarget(uri)?.query, base != uri else { return [joined] }
                return [joined, joined + "?" + query]
            }
        }
    }

    /// Same path and query, whatever the host is called; slashes at the end do not count.
    static func sameResource(_ a: String, _ b: String) -> Bool {
        func plain(_ text: String) -> Substring {
            var out = Substring(text)
            if let url = RTSPURL(text) { out = Substring(url.path + (url.query.map { "?" + $0 } ?? "")) }
            while out.utf8.last == UInt8(ascii: "/") { out = Substring(out.utf8.dropLast()) }
            return out
        }
        return plain(a) == plain(b)
    }
}

extension RTSPTransport {
    /// Once it has been chosen, and its numbers with it.
    fileprivate var path: RTSPSetUpTrack.Path {
        switch lower {
        case .tcp: .interleaved(interleaved ?? .init(0, 1))
        case .udp: .udp(clientPort ?? .init(0, 0))
        }
    }
}

extension RTSPSetUpTrack {
    fileprivate func uses(_ ports: RTSPTransport.Pair<UInt16>) -> Bool {
        guard case .udp(let own) = path else { return false }
        return !Set([own.rtp, own.rtcp]).isDisjoint(with: [ports.rtp, ports.rtcp])
    }
}
