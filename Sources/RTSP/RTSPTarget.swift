import SDP

/// What the URL of a request names: a stream of ours, perhaps one of its tracks.
package struct RTSPTarget: Sendable, Equatable {
    /// Name of the stream, decoded.
    package var name: String
    /// Of `trackID=1`.
    package var track: Int?
    /// Without the question mark; tokens are in it.
    package var query: String?
    /// The URL of the stream as it was written, without track and query.
    package var url: String

    /// - Parameter uri: An absolute URL, or a path. Nil if it names no stream (`*` does not).
    package init?(_ uri: String) {
        var path: String
        let head: String
        if let url = RTSPURL(uri) {
            path = url.path
            query = url.query
            var place = url
            (place.path, place.query) = ("", nil)
            head = place.requestURI
        } else {
            guard uri.utf8.first == UInt8(ascii: "/"), uri.utf8.count <= RTSPURL.maxLength else { return nil }
            let (first, rest) = Substring(uri).halves(at: UInt8(ascii: "?"))
            path = String(first)
            query = rest.map { String($0) }
            head = ""
        }
        // Clients append the track to the URL that they know, which may have a query (ControlURL.join).
        if let (before, track) = query.flatMap(Self.splitTrack) {
            self.track = track
            query = before
        } else if let (before, track) = Self.splitTrack(path) {
            self.track = track
            path = before
        }
        while path.utf8.last == UInt8(ascii: "/") { path = String(Substring(path.utf8.dropLast())) }
        while query?.utf8.last == UInt8(ascii: "/") { query = query.map { String(Substring($0.utf8.dropLast())) } }
        guard let decoded = RTSPURL.decode(Substring(path.utf8.drop { $0 == UInt8(ascii: "/") })), !decoded.isEmpty
        else { return nil }
        name = decoded
        url = head + path
    }

    private static func splitTrack(_ text: String) -> (String, Int)? {
        guard let slash = text.utf8.lastIndex(of: UInt8(ascii: "/")) else { return nil }
        let last = text[text.utf8.index(after: slash)...]
        let prefix = "trackID="
        guard last.utf8.count <= prefix.utf8.count + 3, last.utf8.count > prefix.utf8.count,
            last.prefix(prefix.count).equalsIgnoringCase(prefix),
            let number: Int = Substring(last.utf8.dropFirst(prefix.utf8.count)).decimal()
        else { return nil }
        return (String(text[..<slash]), number)
    }

    /// What the tracks' relative controls are joined to.
    package var base: String { url + "/" }
}
