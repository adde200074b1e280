/* export.h: what others can use of a run: the trained network as a file. */
#ifndef RESNET_CIFAR_EXPORT_H
#define RESNET_CIFAR_EXPORT_H

#include "session.h"

/* Writes OUT/MODEL.onnx, its page OUT/MODEL.html and a few test images, OUT/images.npy, and
 * says how to run the file on them. With --ema the averages are the weights. */
reel_status export_model(session *s, double accuracy);

#endif
