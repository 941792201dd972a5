/// The streams that are pulled from other servers, as the operator sees them (`rtsp/…`).
package protocol StreamPulls: Sendable {
    /// Sorted by URI.
    var all: [PullAgent] { get }
    /// By the URI itself, or as it is shown: several may differ in their passwords.
    func find(_ uri: String) -> [PullAgent]
    /// Begins to pull; returns at once.
    func startup(_ uri: String) throws(PullRefusal)
    /// False: there is none.
    func terminate(_ uri: String) -> Bool
}

/// One that is pulled, for all its viewers.
package struct PullAgent: Hashable, Sendable {
    /// Without its password.
    package var uri: String
    /// `PENDING`, `PLAYING`.
    package var status: String

    package init(uri: String, status: String) {
        self.uri = uri
        self.status = status
    }
}

package enum PullRefusal: Error, Hashable, Sendable {
    case badURI
    /// By scheme, host or port. What addresses its host has is seen only later.
    case notAllowed
    case exists
}
