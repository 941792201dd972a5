import ControlPlane
import HTTPTypes
import Hummingbird
import NIOCore

/// What a handler knows beside the request.
struct HTTPContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// Of the TCP connection; nil only in tests without one.
    let remote: SocketAddress?
    /// Where the client reached us.
    let local: SocketAddress?
    /// For what is known of the connection.
    let connection: ObjectIdentifier

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        remote = source.channel.remoteAddress
        local = source.channel.localAddress
        connection = ObjectIdentifier(source.channel)
    }

    /// `address:port` or `[address]:port`.
    var localText: String { AddressKey.text(host: local?.ipAddress, port: local?.port) }

    /// `address:port` or `[address]:port`.
    var remoteText: String { AddressKey.text(host: remote?.ipAddress, port: remote?.port) }
}

extension HTTPField.Name {
    static let acceptPost = Self("Accept-Post")!
    static let acceptPatch = Self("Accept-Patch")!
    static let link = Self("Link")!
    static let forwarded = Self("Forwarded")!
    static let xForwardedFor = Self("X-Forwarded-For")!
    static let xForwardedHost = Self("X-Forwarded-Host")!
    static let xRealIP = Self("X-Real-IP")!
    static let xClientIP = Self("X-Client-IP")!
    static let trueClientIP = Self("True-Client-IP")!
    static let xServerTime = Self("X-Server-Time")!
    static let xForwardedProto = Self("X-Forwarded-Proto")!
    static let xForwardedPort = Self("X-Forwarded-Port")!
    static let xForwardedServer = Self("X-Forwarded-Server")!
    static let secFetchSite = Self("Sec-Fetch-Site")!
    static let referrerPolicy = Self("Referrer-Policy")!
}

/// The result of `operation`, or nil when it takes longer than `limit`; it is cancelled then.
func withTimeout<T: Sendable>(
    _ limit: Duration, _ operation: @escaping @Sendable () async throws -> T
) async throws -> T? {
    try await withThrowingTaskGroup(of: T?.self) { group in
        group.addTask { try await operation() }
        group.addTask {
            try? await Task.sleep(for: limit)
            return nil
        }
        defer { group.cancelAll() }
        return try await group.next() ?? nil
    }
}
