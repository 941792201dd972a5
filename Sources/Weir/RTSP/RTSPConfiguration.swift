import ControlPlane
import RTSP
import RTSPServer
import Wire

extension Configuration {
    /// RTSP of published streams, and from publishers.
    package struct RTSP: Sendable, Equatable {
        /// Who has to give a name and a password.
        package enum Login: String, CaseIterable, Sendable {
            case none, play, publish, both
        }

        package var enabled = true
        package var listeners = [SocketAddress(ipv4: 0, port: 8_554)]
        /// With the certificate of `tls`.
        package var tlsListeners = [SocketAddress(ipv4: 0, port: 8_322)]
        /// RTP of players by UDP; RTCP is on the next one. 0: players come in connections only.
        package var udpPort: UInt16 = 8_000
        /// Whether what goes by UDP is protected (SRTP).
        package var srtp = RTSPServerSettings.SRTPMode.onRequest
        /// Keys of SRTP are told in connections without TLS, too.
        package var srtpWithoutTLS = false
        /// ANNOUNCE and RECORD.
        package var publish = true
        /// Streams at a time whose pictures are transcoded for WebRTC players, as theirs are out of order (B frames); 0: none.
        package var transcodings = 2
        /// ... whose sound is, as WebRTC has no AAC.
        package var soundTranscodings = 100
        package var sessionTimeout = Interval.seconds(60)
        package var firstRequestTimeout = Interval.seconds(10)
        /// Of connections without a session.
        package var idleTimeout = Interval.seconds(30)
        /// For how long a connection may take nothing at all.
        package var slowReaderTimeout = Interval.seconds(20)
        /// Bytes that may wait in a connection before its player loses pictures.
        package var maxQueue = 2 << 20
        /// For `login`.
        package var users: [RTSPUser] = []
        package var login = Login.none
        package var realm = "Weir"

        package init() {}

        /// - Parameters:
        ///   - canPublish: There is something that takes publishers.
        ///   - hasDatagrams: There is something that serves players by UDP.
        func server(
            connections: ConnectionBudget, canPublish: Bool, hasDatagrams: Bool
        ) -> RTSPServerConfiguration {
            var server = RTSPServerConfiguration()
            server.listeners =
                listeners.map { RTSPListener(host: $0.ip, port: Int($0.port), secure: false) }
                + tlsListeners.map { RTSPListener(host: $0.ip, port: Int($0.port), secure: true) }
            server.connections = connections
            server.maxQueuedBytes = maxQueue
            server.slowReaderTimeout = .nanoseconds(slowReaderTimeout.nanoseconds)
            server.session = session
            server.session.allowsPublishing = publish && canPublish
            server.session.udpPorts = hasDatagrams && udpPort > 0 ? .init(udpPort, udpPort + 1) : nil
            return server
        }

        var variants: StreamVariants.Settings {
            var variants = StreamVariants.Settings()
            variants.maxPictures = transcodings
            variants.maxSounds = soundTranscodings
            return variants
        }

        private var session: RTSPServerSettings {
            var session = RTSPServerSettings()
            session.srtp = srtp
            session.srtpWithoutTLS = srtpWithoutTLS
            session.sessionTimeout = Int(sessionTimeout.nanoseconds / 1_000_000_000)
            session.firstRequestTimeout = firstRequestTimeout
            session.idleTimeout = idleTimeout
            session.auth.realm = realm
            session.auth.allowsBasic = true
            session.users = RTSPUsers(
                Dictionary(users.map { ($0.name, $0.password) }, uniquingKeysWith: { first, _ in first }))
            session.playersLogIn = login == .play || login == .both
            session.publishersLogIn = login == .publish || login == .both
            return session
        }
    }

    package struct RTSPUser: Sendable, Equatable {
        package var name: String
        package var password: String

        package init(name: String, password: String) {
            self.name = name
            self.password = password
        }
    }
}

extension ConfigurationKey {
    private static let hour = Interval.seconds(3_600)

    static let rtsp: [ConfigurationKey] = [
        .init("rtsp", "enabled", \.rtsp.enabled, .flag),
        .init("rtsp", "listeners", \.rtsp.listeners, .list(.listener, 0...16)),
        .init("rtsp", "tls_listeners", \.rtsp.tlsListeners, .list(.listener, 0...16)),
        .init("rtsp", "udp_port", \.rtsp.udpPort, .evenPort),
        .init(
            "rtsp", "srtp", \.rtsp.srtp,
            .word(RTSPServerSettings.SRTPMode.allCases.map { ($0.rawValue, $0) }, name: { $0.rawValue })),
        .init("rtsp", "srtp_without_tls", \.rtsp.srtpWithoutTLS, .flag),
        .init("rtsp", "publish", \.rtsp.publish, .flag),
        .init("rtsp", "transcodings", \.rtsp.transcodings, .integer(0...64)),
        .init("rtsp", "sound_transcodings", \.rtsp.soundTranscodings, .integer(0...10_000)),
        .init("rtsp", "session_timeout", \.rtsp.sessionTimeout, .duration(.seconds(10)...hour)),
        .init("rtsp", "first_request_timeout", \.rtsp.firstRequestTimeout, .duration(.seconds(1)...hour)),
        .init("rtsp", "idle_timeout", \.rtsp.idleTimeout, .duration(.seconds(1)...hour)),
        .init("rtsp", "slow_reader_timeout", \.rtsp.slowReaderTimeout, .duration(.seconds(1)...hour)),
        .init("rtsp", "max_queue", \.rtsp.maxQueue, .size(64 << 10...64 << 20)),
        .init("rtsp", "users", \.rtsp.users, .rtspUsers),
        .init(
            "rtsp", "login", \.rtsp.login,
            .word(Configuration.RTSP.Login.allCases.map { ($0.rawValue, $0) }, name: { $0.rawValue })),
        .init("rtsp", "realm", \.rtsp.realm, .realm),
    ]
}

extension ValueForm where Value == UInt16 {
    /// The first of two ports, or 0 for none: RTP's is even (RFC 3550 §11).
    fileprivate static var evenPort: Self {
        let remedy = "give an even port number from 2 to 65534, or 0 to switch it off"
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                guard let port = UInt16(text), port % 2 == 0 else {
                    throw BadValue("is not an even port number", remedy: remedy)
                }
                return port
            }, write: { String($0) })
    }
}

extension ValueForm where Value == String {
    /// A text that goes into a quoted string of a header.
    fileprivate static var realm: Self {
        let remedy = "give a text of 1 to 64 letters, digits, spaces and signs other than \" and \\"
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                guard (1...64).contains(text.utf8.count),
                    text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7f && !"\"\\".utf8.contains($0) })
                else { throw BadValue("is not a realm", remedy: remedy) }
                return text
            }, write: { $0 })
    }
}

extension ValueForm where Value == [Configuration.RTSPUser] {
    /// `{NAME: PASSWORD}`. Passwords are never shown in errors.
    fileprivate static var rtspUsers: Self {
        let remedy = "give {NAME: PASSWORD, …}, each of 1 to 255 bytes, the name without a colon"
        return Self(
            read: { value throws(BadValue) in
                guard case .mapping(let pairs, _) = value else {
                    if case .scalar("", _) = value { return [] }
                    throw BadValue("are no users", remedy: remedy, value: "the value")
                }
                var users: [Configuration.RTSPUser] = []
                for (name, password) in pairs {
                    guard case .scalar(let text, _) = password, (1...255).contains(text.utf8.count),
                        (1...255).contains(name.utf8.count), !name.contains(":"),
                        (name + text).utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f })
                    else { throw BadValue("is not a user", remedy: remedy, line: password.line, value: "\"\(name)\"") }
                    users.append(.init(name: name, password: text))
                }
                return users
            },
            write: { users in
                "{" + users.map { "\(yamlText($0.name)): \(yamlText($0.password))" }.joined(separator: ", ") + "}"
            })
    }

    private static func yamlText(_ text: String) -> String {
        "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }
}
