import NIOCore

/// The head in a memory file has its date in it: later, the head is made anew.
private let headAge = TimeAmount.seconds(5)

/// How answers are put into the connection: parts from memory files where it can, else buffers that all answers share.
extension HLSConnection {
    /// - Returns: what must be kept until it has been sent.
    func write(
        _ answer: HLSAnswer, _ request: HLSRequest, _ context: ChannelHandlerContext, _ promise: EventLoopPromise<Void>
    ) -> [HLSMemoryFile] {
        func put(_ buffer: ByteBuffer, _ promise: EventLoopPromise<Void>? = nil) {
            context.write(NIOAny(IOData.byteBuffer(buffer)), promise: promise)
        }
        func head() -> ByteBuffer { answer.head(date: port.date.text) }
        switch answer.body {
        case .buffer(let buffer) where !request.isHead:
            put(head())
            put(buffer, promise)
        case .pieces(let pieces) where !request.isHead && !pieces.isEmpty:
            let files = files(pieces, answer, head)
            if let file = files.first.flatMap(\.self), pieces.count == 1, file.name == answer.commonName,
                lastActive - file.made < headAge
            {
                send(file, 0..<file.headLength + file.count, promise, context)
                return [file]
            }
            put(head())
            for (index, piece) in pieces.enumerated() {
                let last = index == pieces.count - 1 ? promise : nil
                guard let file = files[index] else {
                    put(piece.buffer, last)
                    continue
                }
                let first = file.headLength + piece.range.lowerBound
                send(file, first..<first + piece.range.count, last, context)
            }
            return files.compactMap(\.self)
        default: put(head(), promise)
        }
        return []
    }

    private func send(
        _ file: HLSMemoryFile, _ range: Range<Int>, _ promise: EventLoopPromise<Void>?, _ context: ChannelHandlerContext
    ) {
        let region = file.region(range, on: context.eventLoop)
        context.write(NIOAny(IOData.fileRegion(region)), promise: promise)
    }

    /// By piece.
    private func files(
        _ pieces: [HLSAnswer.Piece], _ answer: HLSAnswer, _ head: () -> ByteBuffer
    ) -> [HLSMemoryFile?] {
        guard isPlain else { return pieces.map { _ in nil } }
        return pieces.map { piece in
            port.files.file(of: piece.bytes, name: answer.commonName ?? "", now: lastActive) {
                pieces.count == 1 && answer.commonName != nil ? head() : ByteBuffer()
            }
        }
    }
}
