import ControlPlane
import HLS
import NIOSSL

/// HLS as the HTTP side serves it.
package struct HLSService: Sendable {
    /// First components of paths that are other routes' on the ports that serve all: streams of these names are played
    /// on the ports of HLS.
    static let reserved: Set<String> = [
        "whip", "whep", "api", "apps", "health", "metrics", "rest-api", "client", "capacity",
    ]

    package var backend: any HLSBackend
    /// Ports for HLS alone.
    package var listeners: [HTTPListenAddress]
    /// Used only with a context.
    package var tlsListeners: [HTTPListenAddress]
    /// Asked for each connection; offers `h2` and `http/1.1`. nil: no TLS.
    package var tlsContext: (@Sendable () throws -> NIOSSLContext)?
    /// Whether media playlists, too, are only for viewers who were let in by a token or the backend's `playHLS`.
    package var needsSession: @Sendable () -> Bool
    package var sessionLifetime: Duration
    /// Origins whose pages may play; `*` allows all.
    package var corsOrigins: [String]

    package init(
        backend: any HLSBackend, listeners: [HTTPListenAddress] = [], tlsListeners: [HTTPListenAddress] = [],
        tlsContext: (@Sendable () throws -> NIOSSLContext)? = nil,
        needsSession: @escaping @Sendable () -> Bool = { false }, sessionLifetime: Duration = .seconds(6 * 3_600),
        corsOrigins: [String] = ["*"]
    ) {
        self.backend = backend
        self.listeners = listeners
        self.tlsListeners = tlsListeners
        self.tlsContext = tlsContext
        self.needsSession = needsSession
        self.sessionLifetime = sessionLifetime
        self.corsOrigins = corsOrigins
    }
}

/// Where the routes find streams and who says who may play.
package protocol HLSBackend: Sendable {
    /// The stream of that name; begins its output if there is a publisher and nothing keeps it back.
    func stream(named name: String) async -> HLSLookup

    /// The stream if it has output already: requests for media begin nothing.
    func running(named name: String) -> HLSStream?

    /// All that have output, by name.
    var all: [HLSStream] { get }

    /// Ends a stream's output; false if there was none.
    func terminate(_ name: String) -> Bool

    /// Whether that viewer may play: what its token and the backend's `playHLS` say.
    func play(_ viewer: ViewerRequest) async -> ViewerAdmission
}

package enum HLSLookup: Sendable {
    case stream(HLSStream)
    /// Nobody publishes it.
    case notFound
    /// It cannot be made into HLS, or not now: the text says why.
    case refused(String)
}
