import Foundation

/// `Accept-Encoding` (RFC 9110 §12.5.3).
enum AcceptEncoding {
    private static let maxItems = 32

    /// `gzip` or `*`, unless their weight is 0.
    static func takesGzip(_ lines: [String]) -> Bool {
        guard !lines.isEmpty else { return false }
        var any = false
        for item in lines.joined(separator: ",").split(separator: ",").prefix(maxItems) {
            let parts = item.split(separator: ";").map { $0.trimmingCharacters(in: .whitespaces).lowercased() }
            guard let name = parts.first, name == "gzip" || name == "x-gzip" || name == "*" else { continue }
            let weight = parts.dropFirst().first { $0.hasPrefix("q=") }.flatMap { Double($0.dropFirst(2)) } ?? 1
            if name != "*" { return weight > 0 }
            any = weight > 0
        }
        return any
    }
}
