import ControlPlane
import HTTPTypes
import Hummingbird
import NIOCore

/// Decides whether a request is the operator's.
///
/// The port is shared with public paths, so "from this machine" must hold against a web page that the operator has
/// open (its requests carry an `Origin` or `Sec-Fetch-Site`, or after DNS rebinding a `Host` that is not ours) and against
/// a reverse proxy on this machine (its requests carry a forwarding header, or its address is that of a trusted proxy).
struct AdminAccess: Sendable {
    /// A proxy that adds one of these speaks for somebody else.
    private static let forwarding: [HTTPField.Name] = [
        .forwarded, .xForwardedFor, .xForwardedHost, .xForwardedProto, .xForwardedPort, .xForwardedServer, .xRealIP,
        .xClientIP, .trueClientIP, .via,
    ]

    private let proxies: TrustedProxies
    private let certified: CertifiedConnections
    /// Who the operator is may change while the server runs.
    private let current: @Sendable () -> AdminSettings

    init(
        proxies: TrustedProxies, certified: CertifiedConnections, _ current: @escaping @Sendable () -> AdminSettings
    ) {
        self.proxies = proxies
        self.certified = certified
        self.current = current
    }

    func check(_ request: Request, _ context: HTTPContext) throws(Problem) {
        let settings = current()
        if let token = settings.token, let sent = try BearerToken.read(request.headers) {
            if BearerToken.isEqual(token, sent) { return }
            throw Problem(
                .unauthorized, "The token is not the operator's", remedy: "Send the token of http.admin_token.",
                headers: [.wwwAuthenticate: BearerToken.invalidChallenge])
        }
        // A browser shows the operator's certificate to our server whatever page asks.
        if certified.contains(context.connection), Self.isOwn(request) { return }
        if settings.trustsLoopback, !proxies.contains(context.remoteText), Self.isLocal(request, context.remote) {
            return
        }
        guard settings.token == nil else {
            throw Problem(
                .unauthorized, "This path is the operator's",
                remedy: "Send Authorization: Bearer with the token of http.admin_token.",
                headers: [.wwwAuthenticate: BearerToken.challenge])
        }
        throw Problem(
            .forbidden, "This path is the operator's and answers only to this machine",
            remedy: "Ask from the server itself by http://127.0.0.1, or set http.admin_token and send it.")
    }

    static func isLocal(_ request: Request, _ remote: SocketAddress?) -> Bool {
        guard let address = remote?.ipAddress, isLoopback(address) else { return false }
        guard !forwarding.contains(where: { request.headers[$0] != nil }) else { return false }
        guard let authority = request.head.authority, isLoopbackName(host(of: authority)) else { return false }
        return isOwn(request)
    }

    /// No page of somebody else's asks. `Origin` is missing where a page only fetches a picture or a script from us; there
    /// browsers say by `Sec-Fetch-Site` that it is not ours.
    private static func isOwn(_ request: Request) -> Bool {
        if let site = request.headers[.secFetchSite]?.lowercased(), site != "same-origin", site != "none" {
            return false
        }
        guard let origin = request.headers[.origin]?.lowercased() else { return true }
        guard let authority = request.head.authority?.lowercased() else { return false }
        return origin == "http://\(authority)" || origin == "https://\(authority)"
    }

    static func isLoopback(_ address: String) -> Bool {
        address == "::1" || address.hasPrefix("127.") || address.hasPrefix("::ffff:127.")
    }

    private static func isLoopbackName(_ host: String) -> Bool {
        let name = host.lowercased()
        return name == "localhost" || name.hasSuffix(".localhost") || name == "::1" || isIPv4Loopback(name)
    }

    /// `127.evil.example` is a name, not an address.
    private static func isIPv4Loopback(_ name: String) -> Bool {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { UInt8($0) != nil } && parts[0] == "127"
    }

    /// The host of `host:port`, without the brackets of an IPv6 address.
    static func host(of authority: String) -> String {
        if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
            return String(authority[authority.index(after: authority.startIndex)..<end])
        }
        return String(authority.prefix { $0 != ":" })
    }
}
