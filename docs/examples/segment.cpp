// Segment a picture with the folder of an export, ONNX or OpenVINO: OpenVINO's C++ library reads both.
//   segment exported/ street.ppm ids.pgm                     (binary PPM: `convert street.png street.ppm`)
#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <openvino/openvino.hpp>

using Pixels = std::vector<float>;  // (height, width, channels)

Pixels resized(const Pixels& from, int channels, int height, int width, int rows, int columns) {  // bilinear
    auto place = [](int i, int now, int was) { return std::clamp((i + .5f) * was / now - .5f, 0.f, was - 1.f); };
    Pixels to(size_t(rows) * columns * channels);
    for (size_t i = 0; i < to.size(); ++i) {
        int channel = i % channels, column = i / channels % columns, row = i / channels / columns;
        float y = place(row, rows, height), x = place(column, columns, width);
        int top = int(y), left = int(x), under = std::min(top + 1, height - 1), next = std::min(left + 1, width - 1);
        auto at = [&](int r, int c) { return from[(size_t(r) * width + c) * channels + channel]; };
        float upper = at(top, left) + (x - left) * (at(top, next) - at(top, left));
        float lower = at(under, left) + (x - left) * (at(under, next) - at(under, left));
        to[i] = upper + (y - top) * (lower - upper);
    }
    return to;
}

int main(int count_of_arguments, char** given) {
    auto stop = [](const char* why) { std::cerr << why << "\n"; std::exit(2); };
    if (count_of_arguments != 4) stop("segment EXPORT PICTURE.ppm IDS.pgm");
    const std::string folder = std::string(given[1]) + "/";
    const auto record = nlohmann::json::parse(std::ifstream(folder + "export.json"));
    if (record["input"]["layout"] != "nhwc" || !record["outputs"].contains("scores"))
        stop("export with --layout nhwc and --outputs ids,scores");
    auto request = ov::Core().compile_model(folder + record["model"].get<std::string>(), "CPU",
                                            ov::hint::inference_precision(ov::element::f32)).create_infer_request();
    std::ifstream file(given[2], std::ios::binary);
    std::string magic;
    int width, height, most;
    (file >> magic >> width >> height >> most).get();
    if (!file || magic != "P6" || most != 255) stop("not a binary PPM of 8 bits");
    std::vector<uint8_t> bytes(size_t(3) * width * height);
    if (!file.read(reinterpret_cast<char*>(bytes.data()), bytes.size())) stop("the picture is cut off");

    auto rule = record["judged"].empty() ? record["protocol"] : record["judged"].begin().value();
    int rows = height, columns = width;  // the size that the segmenter was judged at
    if (rule.value("resize", "none") != "none") {
        const float wide = rule["size"][0], tall = rule["size"][1];
        const float scale = std::min(std::max(wide, tall) / std::max(width, height),
                                     std::min(wide, tall) / std::min(width, height));
        const bool exact = rule["resize"] == "exact";
        columns = int(exact ? wide : width * scale + .5f), rows = int(exact ? tall : height * scale + .5f);
    }
    const Pixels image = resized(Pixels(bytes.begin(), bytes.end()), 3, height, width, rows, columns);
    const int tall = record["window"][0], wide = record["window"][1], classes = record["classes"].size();
    const int down = record["stride"][0], right = record["stride"][1];
    if (rows < tall || columns < wide) stop("the picture is smaller than the window");
    Pixels scores(size_t(rows) * columns * classes), windows(size_t(rows) * columns);
    ov::Tensor input(ov::element::u8, {1, size_t(tall), size_t(wide), 3});
    for (int y = 0; y < rows - tall + down; y += down)
        for (int x = 0; x < columns - wide + right; x += right) {  // the last windows end with the image
            const int top = std::min(y, rows - tall), left = std::min(x, columns - wide);
            auto place = [&](int i) { return size_t(top + i / wide) * columns + left + i % wide; };
            for (int i = 0; i < 3 * tall * wide; ++i)
                input.data<uint8_t>()[i] = std::lround(image[place(i / 3) * 3 + i % 3]);
            request.set_tensor("images", input);
            request.infer();
            const float* found = request.get_tensor("scores").data<float>();  // (classes, tall, wide)
            for (int i = 0; i < tall * wide; ++i) {
                for (int k = 0; k < classes; ++k) scores[place(i) * classes + k] += found[k * tall * wide + i];
                windows[place(i)] += 1;
            }
        }
    for (size_t i = 0; i < scores.size(); ++i) scores[i] /= windows[i / classes];
    scores = resized(scores, classes, rows, columns, height, width);
    std::ofstream ids(given[3], std::ios::binary);
    ids << "P5 " << width << " " << height << " 255\n";
    for (auto pixel = scores.begin(); pixel != scores.end(); pixel += classes)
        ids.put(char(std::max_element(pixel, pixel + classes) - pixel));
}
