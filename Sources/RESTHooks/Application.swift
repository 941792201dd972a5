import ControlPlane

/// Which backend an application key leads to, and how it is spoken to.
package struct Application: Hashable, Sendable {
    /// Who answers the hooks.
    package enum Backend: Hashable, Sendable {
        /// Everything is allowed, nobody is asked: `/apps/EchoApp` without the way over HTTP.
        case echo
        /// The room protocol of the Web SDK (signalling 5.2), in this process.
        case room
        /// Hooks are POSTed to this URL + `/` + method.
        case url(String)

        /// As the configuration and REST write it. A path alone names what is built in.
        package var text: String {
            switch self {
            case .echo: Self.echoPath
            case .room: Self.roomPath
            case .url(let url): url
            }
        }

        package var isBuiltIn: Bool {
            if case .url = self { false } else { true }
        }

        package static let echoPath = "/apps/EchoApp"
        package static let roomPath = "/apps/roomApp"

        /// - Throws: what is wrong with the text.
        package init(_ text: String) throws(ApplicationError) {
            switch text {
            case Self.echoPath: self = .echo
            case Self.roomPath: self = .room
            default: self = .url(try Self.checked(text))
            }
        }

        /// A URL without what would end up in the path or in a header of every request; trailing slashes are cut.
        private static func checked(_ text: String) throws(ApplicationError) -> String {
            let lower = text.lowercased()
            let scheme = ["http://", "https://"].first { lower.hasPrefix($0) }
            let rest = scheme.map { text.dropFirst($0.count) } ?? ""
            let isClean = rest.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && !"?#\"<>\\^`{|}".utf8.contains($0) }
            let host = rest.prefix { $0 != "/" }
            guard !host.isEmpty, host.first != ":", isClean, text.utf8.count <= Application.maxTextBytes else {
                throw .invalid("url must be http://HOST/PATH or https://HOST/PATH, \(echoPath) or \(roomPath)")
            }
            guard !host.contains("@") else {
                throw .invalid("url must not hold a password; use username and password")
            }
            return String(text.reversed().drop { $0 == "/" }.reversed())
        }
    }

    /// Who we say we are.
    package enum Credentials: Hashable, Sendable {
        case none
        /// `Authorization: Basic` (RFC 7617).
        case basic(username: String, password: String)
        /// `Authorization: WCS` and the HMAC-MD5 of the body, in hexadecimal (reference part 1.2).
        case signature(secret: String)
    }

    package var key: String
    /// For people; the key if nobody gave one.
    package var name: String
    package var backend: Backend
    /// What is sent. A method has two names in places (`OnDataEvent` and `sendData`): it goes under the first one that
    /// is in here.
    package var methods: Set<String>
    package var credentials: Credentials
    /// Holds for a session as far as its connect answer says nothing else.
    package var defaultRESTClientConfig: RESTClientConfig

    package static let maxKeyBytes = 128
    package static let maxTextBytes = 2_048

    /// - Throws: `.invalid` with what is wrong.
    package init(
        key: String, name: String? = nil, backend: Backend, methods: Set<String>, credentials: Credentials = .none,
        defaultRESTClientConfig: RESTClientConfig = RESTClientConfig()
    ) throws(ApplicationError) {
        guard Self.isKey(key) else {
            throw .invalid("an application key is 1 to \(Self.maxKeyBytes) of the characters A-Z a-z 0-9 _ - .")
        }
        if let name, name.utf8.count > Self.maxTextBytes { throw .invalid("the name is too long") }
        for method in methods { _ = try Self.method(method) }
        switch credentials {
        case .none: break
        case .basic(let username, let password):
            guard !username.isEmpty, !username.contains(":"),
                (username + password).utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }),
                username.utf8.count + password.utf8.count <= Self.maxTextBytes
            else { throw .invalid("username must not be empty or hold a colon, password no control characters") }
        case .signature(let secret):
            guard !secret.isEmpty, secret.utf8.count <= Self.maxTextBytes else { throw .invalid("secret_key is empty") }
        }
        self.key = key
        self.name = name ?? key
        self.backend = backend
        self.methods = methods
        self.credentials = credentials
        self.defaultRESTClientConfig = defaultRESTClientConfig
    }

    private static func isKey(_ text: String) -> Bool {
        (1...maxKeyBytes).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
                    || "_-.".utf8.contains(byte)
            }
    }

    /// The method of that name.
    package static func method(_ name: String) throws(ApplicationError) -> HookMethod {
        if let found = HookMethod.allCases.first(where: { $0.names.contains(name) }) { return found }
        throw .invalid("there is no hook method \"\(name.prefix(64))\"")
    }

    /// Every name under which something is sent.
    package static let allMethods = Set(HookMethod.allCases.flatMap { $0.names })

    /// The name under which a method is attached; nil if it is not.
    package func attachedName(_ method: HookMethod) -> String? { method.names.first { methods.contains($0) } }

    /// `defaultApp` and `roomApp` as they are without a word of the operator.
    package static let builtIn: [Application] = [
        make("defaultApp", .echo), make("roomApp", .room),
    ]

    private static func make(_ key: String, _ backend: Backend) -> Application {
        // Keys of ours, which are valid.
        guard let application = try? Application(key: key, backend: backend, methods: allMethods) else {
            preconditionFailure("\(key) is no application key")
        }
        return application
    }
}

/// Why an application was not made, changed or removed.
package enum ApplicationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// 400: what is wrong.
    case invalid(String)
    /// 404
    case notFound(String)
    /// 409: the key is taken.
    case alreadyExists(String)
    /// 409: it stands in the configuration, where only the operator changes it.
    case readOnly(String)
    /// 500: `applications.json` could not be read or written.
    case storage(String)

    package var description: String {
        switch self {
        case .invalid(let why): why
        case .notFound(let key): "there is no application \(key)"
        case .alreadyExists(let key): "there is already an application \(key)"
        case .readOnly(let key): "application \(key) stands in the configuration, which REST does not change"
        case .storage(let why): why
        }
    }
}
