import Foundation
import NIOCore
import NIOPosix

/// A connection on which tests write bytes as they like.
struct RawConnection {
    /// An answer of HTTP/1.1 with its content.
    struct Answer: Hashable, CustomStringConvertible {
        var status: Int
        /// By name in lower case, without the date.
        var fields: [String: String]
        var body: [UInt8]
        var description: String { "\(status) \(fields) \(body.count) bytes" }
    }

    struct Cut: Error {}

    let channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>

    /// Runs `body` on a connection to that port of this machine.
    static func open(_ port: Int, _ body: (inout Talk) async throws -> Void) async throws {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        try await channel.executeThenClose { inbound, outbound in
            var talk = Talk(channel: channel.channel, inbound: inbound.makeAsyncIterator(), outbound: outbound)
            try await body(&talk)
        }
    }

    struct Talk {
        let channel: any Channel
        var inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
        let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
        private var bytes: [UInt8] = []

        init(
            channel: any Channel, inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator,
            outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
        ) {
            (self.channel, self.inbound, self.outbound) = (channel, inbound, outbound)
        }

        func send(_ text: String) async throws { try await outbound.write(ByteBuffer(string: text)) }

        /// The next answer.
        ///
        /// - Parameter isHead: to a HEAD: no content, whatever it says.
        mutating func answer(isHead: Bool = false) async throws -> Answer {
            while true {
                if let end = Self.headEnd(bytes) {
                    let lines = String(decoding: bytes[..<end], as: UTF8.self).components(separatedBy: "\r\n")
                    var fields: [String: String] = [:]
                    for line in lines.dropFirst() {
                        guard let colon = line.firstIndex(of: ":") else { continue }
                        let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
                        fields[line[..<colon].lowercased(), default: ""] += value
                    }
                    let length = isHead ? 0 : fields["content-length"].flatMap { Int($0) } ?? 0
                    if bytes.count >= end + 4 + length {
                        fields["date"] = nil
                        let status = Int(lines[0].split(separator: " ").dropFirst().first ?? "") ?? 0
                        let body = Array(bytes[(end + 4)..<(end + 4 + length)])
                        bytes.removeFirst(end + 4 + length)
                        return Answer(status: status, fields: fields, body: body)
                    }
                }
                guard let more = try await inbound.next() else { throw Cut() }
                bytes += Array(more.readableBytesView)
            }
        }

        /// Whether the other end closes the connection, what has come before aside.
        mutating func isClosed() async -> Bool {
            // A reset is an end, too.
            while (try? await inbound.next()) != nil {}
            return true
        }

        private static func headEnd(_ bytes: [UInt8]) -> Int? {
            let mark = Array("\r\n\r\n".utf8)
            guard bytes.count >= 4 else { return nil }
            return (0...(bytes.count - 4)).first { Array(bytes[$0..<($0 + 4)]) == mark }
        }
    }
}
