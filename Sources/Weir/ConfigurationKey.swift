import ControlPlane
import RESTHooks
import Wire

/// One key of the configuration: where it stands (section `rtsp.pull`: in the mapping `pull` of section `rtsp`), how it is read, and which property it sets.
package struct ConfigurationKey: Sendable {
    package let section: String
    package let name: String
    let set: @Sendable (inout Configuration, ConfigurationValue) throws(BadValue) -> Void
    /// Text that sets the value which the configuration has.
    package let write: @Sendable (Configuration) -> String

    package var path: String { "\(section).\(name)" }
    package var environmentVariable: String {
        "\(ConfigurationKey.prefix)\(section.replacing(".", with: "_"))_\(name)".uppercased()
    }

    package static let prefix = "WEIR_"

    init<Value: Sendable>(
        _ section: String, _ name: String, _ property: any WritableKeyPath<Configuration, Value> & Sendable,
        _ form: ValueForm<Value>
    ) {
        self.section = section
        self.name = name
        set = { configuration, value throws(BadValue) in configuration[keyPath: property] = try form.read(value) }
        write = { form.write($0[keyPath: property]) }
    }

    static let sections: [String] = all.reduce(into: []) { if $0.last != $1.section { $0.append($1.section) } }

    /// Whether there is a section of that name, or one within it.
    static func hasSection(_ name: String) -> Bool {
        sections.contains { $0 == name || $0.hasPrefix("\(name).") }
    }

    static func find(section: String, name: String) -> ConfigurationKey? {
        all.first { $0.section == section && $0.name == name }
    }

    /// Every key there is.
    package static let all: [ConfigurationKey] =
        media + ice + listeners + hls + rtsp + rtspPull + hooks + tokens + recording + vod + rest

    private static let minute = Interval.seconds(60)
    private static let hour = Interval.seconds(3600)
    /// Buffers below this lose packets at once; above, the kernel would never grant them.
    private static let bufferRange = 64 << 10...1 << 30

    private static let media: [ConfigurationKey] = [
        .init("media", "port", \.media.port, .port()),
        .init("media", "listen", \.media.listen, .list(.address, 1...16)),
        .init("media", "announce", \.media.announce, .list(.address, 0...16)),
        .init("media", "workers", \.media.workers, .integer(0...256)),
        .init("media", "pin_workers", \.media.pinWorkers, .flag),
        .init("media", "gso", \.media.gso, .flag),
        .init("media", "tcp", \.media.tcp, .flag),
        .init(
            "media", "srtp_backend", \.media.srtpBackend,
            .word(SRTPBackendChoice.allCases.map { ($0.rawValue, $0) }, name: { $0.rawValue })),
        .init(
            "media", "srtp_profiles", \.media.srtpProfiles,
            .list(.word(SRTPProfile.allCases.map { ($0.name, $0) }, name: { $0.name }), 1...3)),
        .init("media", "dtls_certificate", \.media.dtlsCertificate, .path),
        .init("media", "dtls_key", \.media.dtlsKey, .path),
        .init("media", "rtp_timeout", \.media.rtpTimeout, .duration(.seconds(1)...hour)),
        .init("media", "group_cache", \.media.groupCache, .duration(.zero...minute)),
        .init("media", "group_cache_packets", \.media.groupCachePackets, .integer(0...65_536)),
        .init("media", "gather_limit", \.media.gatherLimit, .duration(.zero ... .milliseconds(100))),
        .init("media", "gather_min_players", \.media.gatherMinPlayers, .integer(1...1_000_000)),
        .init("media", "sound_gather_limit", \.media.soundGatherLimit, .duration(.zero ... .milliseconds(20))),
        .init("media", "sound_gather_min_players", \.media.soundGatherMinPlayers, .integer(1...1_000_000)),
        .init("media", "burst_packets", \.media.burstPackets, .integer(0...1024)),
        .init(
            "media", "burst_interval", \.media.burstInterval, .duration(.milliseconds(1) ... .milliseconds(100))),
        .init(
            "media", "overload_delay", \.media.overloadDelay, .duration(.milliseconds(10)...minute)),
        .init("media", "receive_buffer", \.media.receiveBuffer, .size(bufferRange)),
        .init("media", "send_buffer", \.media.sendBuffer, .size(bufferRange)),
        .init("media", "max_bitrate", \.media.maxBitrate, .bitrate(30_000...1_000_000_000)),
        .init("media", "packet_memory", \.media.packetMemory, .size(8 << 20...64 << 30)),
        .init("media", "tcp_queue", \.media.tcpQueue, .size(256 << 10...64 << 20)),
        .init("media", "tcp_connections", \.media.tcpConnections, .integer(1...1_000_000)),
        .init(
            "media", "tcp_connections_per_address", \.media.tcpConnectionsPerAddress, .integer(1...1_000_000)),
    ]

    private static let ice: [ConfigurationKey] = [
        .init("ice", "timeout", \.ice.timeout, .duration(.seconds(1)...hour)),
        .init("ice", "keep_alive_timeout", \.ice.keepAliveTimeout, .duration(.seconds(1)...hour)),
    ]

    private static let listeners: [ConfigurationKey] = [
        .init("websocket", "listen", \.websocket.listen, .address),
        .init("websocket", "port", \.websocket.port, .port()),
        .init("websocket", "tls_port", \.websocket.tlsPort, .port(offAllowed: true)),
        .init("websocket", "connect_timeout", \.websocket.connectTimeout, .duration(.seconds(1)...hour)),
        .init(
            "websocket", "keep_alive", \.websocket.keepAlive,
            .word(KeepAliveChoice.allCases.map { ($0.rawValue, $0) }, name: { $0.rawValue })),
        .init("websocket", "ping_interval", \.websocket.pingInterval, .duration(.seconds(1)...hour)),
        .init("websocket", "ping_probes", \.websocket.pingProbes, .integer(1...1000)),
        .init("websocket", "reattach_time", \.websocket.reattachTime, .duration(.zero...hour * 24)),
        .init("websocket", "max_message", \.websocket.maxMessage, .size(16 << 10...64 << 20)),
        .init("websocket", "send_queue", \.websocket.sendQueue, .integer(16...65_536)),
        .init("http", "listen", \.http.listen, .address),
        .init("http", "port", \.http.port, .port()),
        .init("http", "tls_port", \.http.tlsPort, .port(offAllowed: true)),
        .init("http", "cors_origins", \.http.corsOrigins, .list(.origin, 0...256)),
        .init("http", "ice_servers", \.http.iceServers, .list(.iceServer, 0...16)),
        .init("http", "idle_timeout", \.http.idleTimeout, .duration(.seconds(1)...hour)),
        .init("http", "max_body", \.http.maxBody, .size(16 << 10...64 << 20)),
        .init("http", "admin_token", \.http.adminToken, .token),
        .init("http", "admin_from_loopback", \.http.adminFromLoopback, .flag),
        .init("http", "admin_client_ca", \.http.adminClientCa, .path),
        .init("http", "public_stream_list", \.http.publicStreamList, .flag),
        .init("tls", "certificate", \.tls.certificate, .path),
        .init("tls", "key", \.tls.key, .path),
        .init("tls", "check_interval", \.tls.checkInterval, .duration(.seconds(1)...hour * 24)),
        .init("proxies", "trusted", \.proxies.trusted, .list(.addressRange, 0...64)),
    ]

    private static let hooks: [ConfigurationKey] = [
        .init("hooks", "enabled", \.hooks.enabled, .flag),
        .init("hooks", "timeout", \.hooks.timeout, .duration(.seconds(1)...minute * 10)),
        .init("hooks", "concurrency", \.hooks.concurrency, .integer(1...10_000)),
        .init("hooks", "session_queue", \.hooks.sessionQueue, .integer(16...65_536)),
        .init("hooks", "backlog", \.hooks.backlog, .integer(100...10_000_000)),
        .init("hooks", "secret_key", \.hooks.secretKey, .secret),
        .init(
            "hooks", "built_in", \.hooks.builtIn,
            .list(.word(Application.builtIn.map { ($0.key, $0.key) }, name: { $0 }), 0...2)),
        .init("hooks", "keep_alive", \.hooks.keepAlive, .flag),
        .init("hooks", "keep_alive_interval", \.hooks.keepAliveInterval, .duration(.seconds(1)...hour * 24)),
        .init("hooks", "keep_alive_applications", \.hooks.keepAliveApplications, .list(.applicationKey, 0...1_000)),
    ]

    private static let tokens: [ConfigurationKey] = [
        .init("tokens", "hs256_secrets", \.tokens.hs256Secrets, .tokenSecrets),
        .init("tokens", "jwks_file", \.tokens.jwksFile, .path),
        .init("tokens", "check_interval", \.tokens.checkInterval, .duration(.seconds(1)...hour * 24)),
        .init("tokens", "issuer", \.tokens.issuer, .text),
        .init("tokens", "audience", \.tokens.audience, .text),
        .init("tokens", "leeway", \.tokens.leeway, .duration(.zero...minute * 10)),
        .init(
            "tokens", "needed_for", \.tokens.neededFor,
            .list(.word(StreamAction.allCases.map { ($0.rawValue, $0) }, name: { $0.rawValue }), 1...2)),
        .init(
            "tokens", "except_applications", \.tokens.exceptApplications, .list(.applicationKey, 0...1_000)),
        .init("tokens", "end_at_expiry", \.tokens.endAtExpiry, .flag),
    ]

    private static let rest: [ConfigurationKey] = [
        .init("limits", "connections", \.limits.connections, .integer(1...10_000_000)),
        .init("limits", "connections_per_address", \.limits.connectionsPerAddress, .integer(1...10_000_000)),
        .init("limits", "sessions", \.limits.sessions, .integer(1...10_000_000)),
        .init("limits", "streams", \.limits.streams, .integer(1...10_000_000)),
        .init("limits", "players", \.limits.players, .integer(1...10_000_000)),
        .init("limits", "players_per_stream", \.limits.playersPerStream, .integer(1...10_000_000)),
        .init("limits", "streams_per_session", \.limits.streamsPerSession, .integer(1...10_000)),
        .init("limits", "packet_rate", \.limits.packetRate, .integer(0...1_000_000_000)),
        .init("limits", "cpu", \.limits.cpu, .integer(0...100)),
        .init(
            "log", "level", \.log.level, .word(LogLevel.allCases.map { ($0.name, $0) }, name: { $0.name })),
        .init(
            "log", "format", \.log.format, .word(LogFormat.allCases.map { ($0.rawValue, $0) }, name: { $0.rawValue })),
        .init("log", "rate", \.log.rate, .integer(0...1_000_000)),
        .init("log", "burst", \.log.burst, .integer(1...1_000_000)),
        .init("diagnostics", "enabled", \.diagnostics.enabled, .flag),
        .init("diagnostics", "dir", \.diagnostics.dir, .path),
        .init("diagnostics", "max_files", \.diagnostics.maxFiles, .integer(1...1_000_000)),
        .init("diagnostics", "max_size", \.diagnostics.maxSize, .size(1 << 20...1 << 44)),
        .init("diagnostics", "min_free", \.diagnostics.minFree, .size(0...1 << 44)),
        .init("diagnostics", "max_log", \.diagnostics.maxLog, .size(64 << 10...1 << 30)),
        .init("diagnostics", "journal", \.diagnostics.journal, .size(0...1 << 20)),
        .init("diagnostics", "client_metrics", \.diagnostics.clientMetrics, .flag),
        .init("shutdown", "timeout", \.shutdown.timeout, .duration(.zero...hour)),
        .init("state", "dir", \.state.dir, .path),
        .init("features", "video_rate_events", \.features.videoRateEvents, .flag),
    ]
}

/// The word that differs least from what was written, if it is near enough to be what was meant (a third of the
/// letters may be wrong, two at least).
func nearest(to text: String, of words: [String]) -> String? {
    let wanted = Array(text.lowercased().prefix(64))
    let best = words.map { (word: $0, distance: editDistance(wanted, Array($0.lowercased()))) }
        .min { $0.distance < $1.distance }
    guard let best, best.distance <= max(2, wanted.count / 3), best.distance < best.word.count else { return nil }
    return best.word
}

/// Levenshtein distance: letters put in, left out or exchanged.
private func editDistance(_ a: [Character], _ b: [Character]) -> Int {
    var row = Array(0...b.count)
    for (i, x) in a.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, y) in b.enumerated() {
            let above = row[j + 1]
            row[j + 1] = min(above + 1, row[j] + 1, diagonal + (x == y ? 0 : 1))
            diagonal = above
        }
    }
    return row[b.count]
}
