import WCS
import WeirJSON

/// Input: one text message of a client. It is read as JSON, written, read again, and read as a message of the protocol.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafeRawPointer?, _ count: Int) -> CInt {
    guard let data, count > 0 else { return 0 }
    let bytes = [UInt8](UnsafeRawBufferPointer(start: data, count: count))
    let limits = JSONParser.Limits()
    if let value = try? JSONParser.parse(bytes, limits: limits) {
        precondition(JSONParser.depth(of: bytes) <= limits.depth, "bound of depth")
        do {
            let again = try JSONParser.parse(Array(value.serialized.utf8))
            precondition(again == value, "written and read again it is another value")
        } catch {
            // Escapes such as \u0001 grow when they are written, so a text at the limit may go beyond it.
            precondition(value.serialized.utf8.count > limits.bytes, "our own JSON: \(error)")
        }
    }
    guard let request = try? WCSCodec.decode(bytes, limits: limits) else { return 0 }
    switch request {
    case .publishStream(let stream), .playStream(let stream):
        for amount in [
            stream.width, stream.height, stream.bitrate, stream.minBitrate, stream.maxBitrate, stream.quality,
        ] {
            precondition(amount >= 0, "a negative amount")
        }
    case .connection(let connection):
        // What is sent back to the client in getUserData.
        check(.getUserData(members: connection.object))
    case .sendStreamEvent(let event): check(.notifyStreamEvent(event))
    case .call(let callId, let incoming, let caller, let callee):
        check(.finish(callId: callId, incoming: incoming, failure: "x", caller: caller, callee: callee))
    case .availableStream(let id, _): check(.availableStream(id: id, available: false, info: "Stream not found"))
    default: break
    }
    return 0
}

/// Messages of ours are JSON with an array `data`, whatever the client put into them.
private func check(_ message: WCSMessage) {
    guard let value = try? JSONParser.parse(message.bytes), case .array? = value["data"],
        case .string(message.name)? = value["message"]
    else {
        // Deeper by the two levels of the envelope, or longer, than what a client may send.
        let bytes = message.bytes
        let limits = JSONParser.Limits()
        precondition(
            JSONParser.depth(of: bytes) > limits.depth || bytes.count > limits.bytes, "our own message is no JSON")
        return
    }
}
