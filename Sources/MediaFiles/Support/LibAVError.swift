import CLibAV

/// What FFmpeg's libraries said no to.
package struct LibAVError: Error, Equatable, CustomStringConvertible {
    /// What was tried, as a phrase: "open the encoder libx264".
    package var operation: String
    /// The library's number: negative, often a POSIX error.
    package var code: Int32

    package init(operation: String, code: Int32) {
        self.operation = operation
        self.code = code
    }

    /// A POSIX error as FFmpeg spells it.
    package static func posix(_ error: Int32) -> Int32 { weir_averror(error) }

    package var description: String { "cannot \(operation): \(Self.text(of: code))" }

    /// The library's words for one of its numbers.
    package static func text(of code: Int32) -> String {
        let capacity = Int(AV_ERROR_MAX_STRING_SIZE)
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: capacity) { buffer in
            guard let base = buffer.baseAddress else { return "error \(code)" }
            weir_av_error_text(code, base, capacity)
            return String(cString: base)
        }
    }
}

/// Passes on what a function of FFmpeg returned, and throws if it is an error.
@discardableResult
package func check(_ operation: @autoclosure () -> String, _ result: Int32) throws(LibAVError) -> Int32 {
    guard result >= 0 else { throw LibAVError(operation: operation(), code: result) }
    return result
}
