import ControlPlane
import RESTHooks
import WeirJSON

/// Input: the body of a backend's answer to a hook, after a first byte that chooses its status. It is read as an answer
/// to `connect` and to `playStream`, and must not be able to do more than the documentation says.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafeRawPointer?, _ count: Int) -> CInt {
    guard let data, count > 1 else { return 0 }
    let bytes = [UInt8](UnsafeRawBufferPointer(start: data, count: count))
    let status = [200, 200, 200, 200, 403, 302, 500, 204][Int(bytes[0] & 7)]
    let reply = HookReply(status: status, reason: "Forbidden", body: Array(bytes[1...]))
    let members: [JSONMember]
    do {
        members = try reply.members()
        precondition(status == 200, "taken for a yes")
    } catch {
        precondition(error.clientReason.count <= HookLimits.reasonCharacters, "a reason without end")
        precondition(!error.clientReason.unicodeScalars.contains { $0.value < 0x20 }, "a control character")
        precondition(!error.clientReason.isEmpty || status == 200, "no reason")
        return 0
    }
    checkConnect(members)
    checkOverwrite(members)
    return 0
}

private func checkConnect(_ members: [JSONMember]) {
    let object = [
        JSONMember("appKey", .string("app")), JSONMember("authToken", .string("token")), JSONMember("a", .bool(true)),
    ]
    let merged = JSONValue.object(ConnectAnswer.merge(members, into: object))
    precondition(merged["appKey"] == .string("app"), "another application")
    precondition(merged["authToken"] == .string("token"), "another token")
    precondition(merged["restClientConfig"] == nil, "configuration goes to the client")
    precondition((try? JSONParser.parse(Array(merged.serialized.utf8))) != nil || members.count > 100, "no JSON")
    guard let value = JSONValue.object(members)["restClientConfig"], let config = try? RESTClientConfig(value) else {
        return
    }
    // What is stored is read again as the same.
    guard let again = try? RESTClientConfig(config.json) else { preconditionFailure("our own configuration") }
    for method in HookMethod.allCases {
        let (one, other) = (config.config(method), again.config(method))
        precondition(one.restOnError == other.restOnError && one.restPolicy == other.restPolicy, "\(method)")
        precondition(config.overridden(by: config).config(method) == one, "overridden by itself")
    }
}

private func checkOverwrite(_ members: [JSONMember]) {
    let request = StreamRequest(mediaSessionId: "id", name: "name", sdp: "sdp", width: 7)
    precondition(request.overwritten(by: members, fields: []) == request, "changed without leave")
    let all = request.overwritten(by: members, fields: StreamRequest.overwritable.union(["mediaSessionId"]))
    precondition(all.mediaSessionId == "id", "another stream")
    for amount in [all.width, all.height, all.bitrate, all.minBitrate, all.maxBitrate, all.quality] {
        precondition(amount >= 0, "a negative amount")
    }
    var named = request
    named.name = all.name
    precondition(request.overwritten(by: members, fields: ["name"]) == named, "more than the name")
}
