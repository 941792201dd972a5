import Testing

/// A recorded offer.
struct Trace: CustomTestStringConvertible, Sendable {
    let name: String
    let offer: String

    init(_ name: String, _ text: String) {
        self.name = name
        offer = text.contains("\r\n") ? text : crlf(text)
    }

    var testDescription: String { name }
}

/// The text with CRLF line ends, the last line included.
func crlf(_ text: String) -> String {
    text.split(separator: "\n", omittingEmptySubsequences: true).joined(separator: "\r\n") + "\r\n"
}
