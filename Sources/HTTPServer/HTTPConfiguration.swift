import ControlPlane
import Logging
import NIOSSL

/// Settings of the HTTP side: WHIP, WHEP, the page and the operator's paths.
package struct HTTPConfiguration: Sendable {
    /// Where plain HTTP is served; several addresses are allowed, none switches it off.
    package var listeners: [HTTPListenAddress]
    /// Where HTTPS is served; used only with `tlsContext`.
    package var tlsListeners: [HTTPListenAddress]
    /// Asked at every TLS connection, so that a certificate may change while the server runs. Must be fast: it runs on
    /// an event loop, so keep the context and replace it when the files change. ALPN, if set, must not offer `h2`.
    package var tlsContext: (@Sendable () throws -> NIOSSLContext)?
    /// Whether `tlsContext` asks clients for a certificate and refuses wrong ones. Who shows one is the operator.
    package var asksForClientCertificates: Bool
    /// Origins whose pages may use WHIP and WHEP, for example `https://example.com`; `*` allows all.
    package var corsOrigins: [String]
    /// Told to WHIP and WHEP clients by `Link` headers (RFC 9725 §4.6).
    package var iceServers: [ICEServer]
    /// Bytes of an offer or of an ICE fragment.
    package var bodyLimit: Int
    /// Open connections of all listeners; more are closed at once. To be shared with the other listeners of the server.
    package var connections: ConnectionBudget
    /// Whose `X-Forwarded-For` names the client.
    package var trustedProxies: TrustedProxies
    /// A connection without a request for so long is closed.
    package var idleTimeout: Duration
    /// How long a client may take to send a body.
    package var bodyTimeout: Duration
    /// How long an answer to an offer may take, backend included.
    package var answerTimeout: Duration
    package var admin: AdminSettings
    /// Whether `/api/streams` answers to everyone, as the page needs on a phone; else it is an operator's path.
    package var publicStreamList: Bool
    /// What the page tells of the server's other ports.
    package var addresses = ServiceAddresses()
    /// Directory of the page; nil = the files that come with the executable.
    package var webDirectory: String?

    package init(
        listeners: [HTTPListenAddress] = [HTTPListenAddress(host: "::", port: 8081)],
        tlsListeners: [HTTPListenAddress] = [], tlsContext: (@Sendable () throws -> NIOSSLContext)? = nil,
        asksForClientCertificates: Bool = false, corsOrigins: [String] = ["*"], iceServers: [ICEServer] = [],
        bodyLimit: Int = 262_144,
        connections: ConnectionBudget = ConnectionBudget(limit: 10_000, limitPerAddress: 1_000),
        trustedProxies: TrustedProxies = TrustedProxies(),
        idleTimeout: Duration = .seconds(60), bodyTimeout: Duration = .seconds(15),
        answerTimeout: Duration = .seconds(15), admin: AdminSettings = AdminSettings(), publicStreamList: Bool = true,
        webDirectory: String? = nil
    ) {
        self.listeners = listeners
        self.tlsListeners = tlsListeners
        self.tlsContext = tlsContext
        self.asksForClientCertificates = asksForClientCertificates
        self.corsOrigins = corsOrigins
        self.iceServers = iceServers
        self.bodyLimit = bodyLimit
        self.connections = connections
        self.trustedProxies = trustedProxies
        self.idleTimeout = idleTimeout
        self.bodyTimeout = bodyTimeout
        self.answerTimeout = answerTimeout
        self.admin = admin
        self.publicStreamList = publicStreamList
        self.webDirectory = webDirectory
    }
}

/// Ports of services beside HTTP; nil: there is none.
package struct ServiceAddresses: Encodable, Hashable, Sendable {
    package var rtspPort: Int?
    package var rtspTlsPort: Int?

    package init(rtspPort: Int? = nil, rtspTlsPort: Int? = nil) {
        self.rtspPort = rtspPort
        self.rtspTlsPort = rtspTlsPort
    }
}

/// One address and port to listen on; port 0 lets the kernel choose.
package struct HTTPListenAddress: Hashable, Sendable, CustomStringConvertible {
    package var host: String
    package var port: Int

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// A STUN or TURN server (RFC 7064, RFC 7065).
package struct ICEServer: Hashable, Sendable {
    /// For example `stun:stun.example.net` or `turn:turn.example.net?transport=udp`.
    package var url: String
    package var username: String?
    package var credential: String?

    package init(url: String, username: String? = nil, credential: String? = nil) {
        self.url = url
        self.username = username
        self.credential = credential
    }

    /// Value of a `Link` header (RFC 9725 §4.6).
    var link: String {
        var text = "<\(Self.withoutQuotes(url))>; rel=\"ice-server\""
        if let username, let credential {
            text += "; username=\"\(Self.quoted(username))\"; credential=\"\(Self.quoted(credential))\""
            text += "; credential-type=\"password\""
        }
        return text
    }

    private static func withoutQuotes(_ text: String) -> String {
        text.filter { $0 != "<" && $0 != ">" && $0 != "\"" }
    }

    private static func quoted(_ text: String) -> String {
        text.reduce(into: "") { out, character in
            if character == "\"" || character == "\\" { out.append("\\") }
            out.append(character)
        }
    }
}

/// Who may use the operator's paths (`/metrics`, `/api/log-level`).
package struct AdminSettings: Hashable, Sendable {
    /// A request whose `Authorization: Bearer` carries this is the operator's, from wherever it comes.
    package var token: String?
    /// Whether a request from this machine needs no token. Requests with a forwarding header, a `Host` that is no
    /// loopback name or an `Origin` that is not ours do not count as local, nor do those of trusted proxies.
    package var trustsLoopback: Bool

    package init(token: String? = nil, trustsLoopback: Bool = true) {
        self.token = token
        self.trustsLoopback = trustsLoopback
    }
}

/// How the log level is read and changed at run time; given by the assembly.
package struct LogLevelControl: Sendable {
    package var get: @Sendable () -> Logger.Level
    package var set: @Sendable (Logger.Level) -> Void

    package init(get: @escaping @Sendable () -> Logger.Level, set: @escaping @Sendable (Logger.Level) -> Void) {
        self.get = get
        self.set = set
    }
}
