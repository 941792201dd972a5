import RTSP
import Testing
import Wire

/// Lines of a message as it goes over the wire.
func crlf(_ text: String) -> String {
    text.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\r\n")
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// What a parser gives for some bytes, packets included, in order.
enum Item: Equatable {
    case message(RTSPMessage)
    case packet(UInt8, [UInt8])
}

/// - Parameter sizes: lengths of the chunks, used in turn; the last one is repeated.
func parse(_ input: [UInt8], chunks sizes: [Int] = [.max], limits: RTSPLimits = RTSPLimits()) throws(RTSPParseError)
    -> [Item]
{
    var parser = RTSPParser(limits: limits)
    var out: [Item] = []
    var at = 0
    var turn = 0
    while at < input.count {
        let size = min(sizes[min(turn, sizes.count - 1)], input.count - at)
        turn += 1
        parser.append(Array(input[at..<(at + size)]))
        at += size
        while let message = try parser.next({ out.append(.packet($0, $1.copied())) }) { out.append(.message(message)) }
    }
    return out
}

func failure(of input: [UInt8], limits: RTSPLimits = RTSPLimits()) -> RTSPParseError? {
    do {
        _ = try parse(input, limits: limits)
        return nil
    } catch {
        return error
    }
}

func request(_ text: String) throws -> RTSPRequest {
    let items = try parse(bytes(crlf(text)))
    guard case .message(.request(let request))? = items.first else {
        throw TestFailure("no request in \(items)")
    }
    return request
}

func response(_ text: String) throws -> RTSPResponse {
    let items = try parse(bytes(crlf(text)))
    guard case .message(.response(let response))? = items.first else {
        throw TestFailure("no response in \(items)")
    }
    return response
}

struct TestFailure: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}
