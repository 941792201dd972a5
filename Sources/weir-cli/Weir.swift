import Weir
@main struct Main { static func main() {} }
