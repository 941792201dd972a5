import ControlPlane
import Foundation
import HTTPTypes
import Hummingbird
import WeirJSON

/// What a WHIP or WHEP client says of itself, in the form in which a backend knows clients: the `connection` object of
/// the WCS SDK.
enum WebRTCConnect {
    /// Parameters of the URL beyond this many are not passed on.
    private static let maxParameters = 64
    private static let appKey = "appKey"
    private static let token = "token"

    /// The application is that of `?appKey=`. `custom` is what else the query says, and the bearer token as `token`.
    static func request(
        _ request: Request, kind: SessionKind, address: String, local: String, token: String?
    ) -> ConnectRequest {
        var parameters = parameters(of: request.uri.query)
        let key = parameters.last { $0.name == appKey }?.value
        parameters.removeAll { $0.name == appKey || (token != nil && $0.name == self.token) }
        var custom = parameters.map { JSONMember($0.name, .string($0.value)) }
        if let token { custom.append(JSONMember(self.token, .string(token))) }
        let customText = custom.isEmpty ? nil : JSONText(JSONValue.object(custom).serialized)
        var profile = [
            JSONMember("mediaProviders", .array([.string("WebRTC")])), JSONMember("status", .string("PENDING")),
        ]
        if let agent = request.headers[.userAgent] {
            profile.append(JSONMember("clientBrowserVersion", .string(agent)))
        }
        if let origin = request.headers[.origin] { profile.append(JSONMember("origin", .string(origin))) }
        if let customText { profile.append(JSONMember("custom", .verbatim(customText.text))) }
        return ConnectRequest(
            appKey: key.flatMap { $0.isEmpty ? nil : $0 } ?? ControlConfiguration.defaultAppKey,
            remoteAddress: address, localAddress: local, custom: customText, kind: kind, bearerToken: token,
            query: request.uri.query, profile: JSONText(JSONValue.object(profile).serialized))
    }

    /// Parameters in order; of several of one name the last counts, as an object has each once. What is no UTF-8 when
    /// its escapes are undone is left as it was sent.
    static func parameters(of query: String?) -> [(name: String, value: String)] {
        var found: [(name: String, value: String)] = []
        for part in (query ?? "").split(separator: "&").prefix(maxParameters) {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = decoded(pair[0])
            guard !name.isEmpty else { continue }
            found.removeAll { $0.name == name }
            found.append((name, pair.count > 1 ? decoded(pair[1]) : ""))
        }
        return found
    }

    private static func decoded(_ text: Substring) -> String {
        let spaced = text.replacing("+", with: " ")
        return String(spaced).removingPercentEncoding ?? String(text)
    }
}
