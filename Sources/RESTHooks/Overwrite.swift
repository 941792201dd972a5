import ControlPlane
import WeirJSON

extension StreamRequest {
    /// Fields of `publishStream` and `playStream` that a backend may change under OVERWRITE.
    package static let overwritable: Set<String> = [
        "name", "sdp", "record", "width", "height", "bitrate", "minBitrate", "maxBitrate", "quality", "custom",
        "rtmpUrl",
    ]

    /// Takes the answer's values of `fields`. What has another type than the field, or is `null`, is left as it is:
    /// a backend that echoes what it knows does not unset what it does not.
    package func overwritten(by members: [JSONMember], fields: Set<String>) -> StreamRequest {
        let answer = JSONValue.object(members)
        var out = self
        func value(_ field: String) -> JSONValue? {
            guard fields.contains(field), let value = answer[field], !value.isNull else { return nil }
            return value
        }
        func text(_ field: String, _ property: WritableKeyPath<StreamRequest, String>) {
            if case .string(let text)? = value(field) { out[keyPath: property] = text }
        }
        func amount(_ field: String, _ property: WritableKeyPath<StreamRequest, Int>) {
            if let number = value(field)?.integer, number >= 0 { out[keyPath: property] = number }
        }
        text("name", \.name)
        text("sdp", \.sdp)
        if let flag = value("record")?.flag { out.record = flag }
        amount("width", \.width)
        amount("height", \.height)
        amount("bitrate", \.bitrate)
        amount("minBitrate", \.minBitrate)
        amount("maxBitrate", \.maxBitrate)
        amount("quality", \.quality)
        if let custom = value("custom") { out.custom = JSONText(custom.serialized) }
        if case .string(let url)? = value("rtmpUrl") { out.rtmpUrl = url.isEmpty ? nil : url }
        return out
    }
}

/// The connection object after the backend's answer (reference part 1.3: what `connect` returns is applied without
/// OVERWRITE).
package enum ConnectAnswer {
    /// Members that are the server's own, or speak to it; never taken over.
    private static let reserved: Set<String> = [
        "nodeId", "sessionId", "appKey", "authToken", "status", "info", "restClientConfig",
    ]

    /// The object with the answer's members laid over it. A `null` takes the member away.
    package static func merge(_ answer: [JSONMember], into object: [JSONMember]) -> [JSONMember] {
        var out = object
        for member in answer where !reserved.contains(member.name) {
            out.removeAll { $0.name == member.name }
            if !member.value.isNull { out.append(member) }
        }
        return out
    }
}
